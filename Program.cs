using System.Net.Sockets;
using Dmb;
using Dmb.Commands;
using Dmb.Endpoints;
using Dmb.Redis;
using Dmb.Telemetry;
using Microsoft.AspNetCore.Connections;

if (CommandLine.IsCommand(args))
{
    return await CommandLine.RunAsync(args);
}

// Runs socket continuations inline on the I/O thread, so no handler may block. Read when the first socket is created.
Environment.SetEnvironmentVariable("DOTNET_SYSTEM_NET_SOCKETS_INLINE_COMPLETIONS", "1");

if (args.Contains("--help") || args.Contains("-h"))
{
    Console.Write(Settings.Help(CommandLine.Names));
    return 0;
}

if (args.Contains("--version"))
{
    Console.WriteLine($"dmb {BuildInfo.Version}");
    return 0;
}

using var signals = new Signals();

// Gives request spans their attributes. Read when the server is created.
AppContext.SetSwitch("Microsoft.AspNetCore.Hosting.SuppressActivityOpenTelemetryData", false);

WebApplicationBuilder builder;
NodeOptions options;
RedisEndpoint? redis;
try
{
    builder = Settings.CreateBuilder(args);
    options = Settings.Read(builder.Configuration, args);
    if (args.Contains(HealthCommand.Argument))
    {
        return await HealthCommand.RunAsync(options.Http);
    }

    redis = await RedisEndpoint.FindAsync(options.Redis);
    SettingsCheck.CheckRole(options.Routing, redis);
    if (options.Redis.Groups == 0)
    {
        options.Redis.Groups = await RedisLayout.FindGroupsAsync(redis, options.Redis);
        options.Redis.AreGroupsFound = true;
    }
}
catch (Exception) when (signals.Stopping.IsCancellationRequested)
{
    return 0;
}
catch (Settings.BadSettingException bad)
{
    Console.Error.WriteLine(bad.Message);
    return 2;
}

builder.ListenAs(options);
builder.AddClosedServices();
builder.AddOptions(options);
builder.AddBroker();
builder.AddBackplane(redis, options.Routing);
builder.AddAccess(options.Access);
builder.AddSockets(options.Sockets);
builder.AddHttp(options.Http);

await using var app = builder.Build();
app.UseHostCheck();
app.UseTrustedProxies();
app.UseBrokerPaths();
app.UseHttpRules();
app.UseDrain();
app.UseProblems();
app.UseOriginCheck();
app.UseCrossOrigin();
app.UseRequestDecompression();
app.UseSockets();
app.UseCallers();
app.UseSwaggerPage();
app.UseRouting();
app.UseRules();

app.MapNotify();
app.MapRegister();
app.MapBackends();
app.MapWebhooks();
app.MapDeadLetters();
app.MapHealth();
app.MapMetrics();
app.MapContract();

var listening = app.MapListening(options.Routing);
listening.MapRooms();
listening.MapOperator();
listening.MapBackendList();
listening.MapOperatorCommands();
listening.MapTail();
listening.MapUplinks();
listening.MapEventStream();
listening.MapSockets();
listening.MapSocketIo();
listening.MapConsole();

app.LogStartup(options, redis);
try
{
    await app.StartAsync(signals.Stopping);
}
catch (OperationCanceledException) when (signals.Stopping.IsCancellationRequested)
{
    // The services that have started stop below, in order.
}
catch (IOException unavailable) when (unavailable.InnerException is AddressInUseException)
{
    Console.Error.WriteLine(
        $"DMB_PORT: port {options.Http.Port} of {options.Http.Host} is in use; set another, or stop what listens there."
    );
    return 1;
}
catch (SocketException unavailable)
{
    Console.Error.WriteLine(
        $"DMB_HOST: can't listen on {options.Http.Host}, port {options.Http.Port}: {unavailable.Message}."
    );
    return 1;
}

await app.WaitForShutdownAsync(signals.Stopping);
return Environment.ExitCode;
