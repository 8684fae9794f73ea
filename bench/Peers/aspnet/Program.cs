using Dmb.Bench.Peers.AspNet;

// aspnet bare|naive|signalr PORT
var builder = WebApplication.CreateSlimBuilder();
builder.Logging.ClearProviders();
builder.WebHost.ConfigureKestrel(kestrel => kestrel.ListenLocalhost(int.Parse(args[1])));
switch (args[0])
{
    case "bare":
        Bare.Run(builder);
        break;
    case "naive":
        Naive.Run(builder);
        break;
    case "signalr":
        EventHub.Run(builder);
        break;
    default:
        throw new ArgumentException(args[0]);
}
