using Dmb;
using Dmb.Endpoints;
using Dmb.Routing;

if (args.Contains("--help"))
{
    Console.Write(Settings.Help());
    return 0;
}

var builder = WebApplication.CreateSlimBuilder(args);
BrokerOptions options;
try
{
    options = Settings.Read(builder.Configuration, args);
}
catch (Settings.BadValueException bad)
{
    Console.Error.WriteLine(bad.Message);
    return 2;
}

builder.ListenAs(options);
builder.AddBroker(options);
builder.AddSockets();
builder.AddHttp(options);

var app = builder.Build();
app.UseBrokerPaths();
app.UseProblems();
app.UseOriginCheck();
app.UseCors();
app.UseRequestDecompression();
app.UseSockets();
app.UseSwaggerPage();
app.UseRouting();

app.MapNotify();
app.MapRegister();
app.MapRooms();
app.MapEventStream();
app.MapSockets();
app.MapHealth();
app.MapContract();

app.SayHello(options);
await app.RunAsync();
return 0;
