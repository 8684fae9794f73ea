using System.Net.Http.Json;
using System.Net.Mime;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Mvc.Testing;
using Microsoft.AspNetCore.TestHost;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Dmb.Tests.Support;

/// <summary>The whole broker in this process, on a real port of its own, with a clock that the test moves.</summary>
public sealed class Node : IAsyncDisposable
{
    /// <summary>How long a test waits for what must come, before it fails instead of hanging.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly Factory _factory;

    private Node(Factory factory)
    {
        _factory = factory;
        Http = factory.CreateClient();
        Http.Timeout = Patience;
        Url = new UriBuilder(Http.BaseAddress!) { Host = "127.0.0.1" }.Uri;
        Http.BaseAddress = Url;
    }

    public Uri Url { get; }
    public int Port => Url.Port;
    public HttpClient Http { get; }
    public ManualTime Time => _factory.Time;
    public IServiceProvider Services => _factory.Services;

    /// <summary>Its warnings and errors so far; all there will be once it is disposed of.</summary>
    public string[] Warnings => _factory.Log.Lines;

    /// <summary>Starts a node. A setting's key is its name under <c>Dmb:</c>, such as <c>MaxMessageBytes</c>.</summary>
    public static Task<Node> StartAsync(params (string Key, string Value)[] settings)
    {
        var factory = new Factory(settings);
        factory.StartServer();
        return Task.FromResult(new Node(factory));
    }

    /// <summary>A client of <c>/ws</c> whose welcome has been read.</summary>
    public async Task<TestClient> ConnectAsync(params (string Name, string Value)[] headers)
    {
        var client = await TestClient.ConnectAsync(new Uri(Url, "/ws"), headers);
        var welcome = await client.ReadAsync();
        Assert.StartsWith("""{"event":"welcome","data":{"id":""", welcome, StringComparison.Ordinal);
        return client;
    }

    /// <summary>A client of <c>/ws</c> that is in these rooms, and has read all that was said about it.</summary>
    public async Task<TestClient> JoinAsync(params string[] rooms)
    {
        var client = await ConnectAsync();
        await client.SendAsync($$"""{"event":"subscribe","data":{{JsonSerializer.Serialize(rooms)}},"ack":"join"}""");
        string answer;
        do
        {
            answer = await client.ReadAsync();
        } while (!answer.StartsWith("""{"ack":"join",""", StringComparison.Ordinal));

        Assert.StartsWith("""{"ack":"join","ok":true""", answer, StringComparison.Ordinal);
        return client;
    }

    /// <summary>Publishes over HTTP, as a SIP server does. Returns the message's id.</summary>
    public async Task<string> NotifyAsync(string @event, string json)
    {
        using var body = new StringContent(json, Encoding.UTF8, MediaTypeNames.Application.Json);
        using var response = await Http.PostAsync(new Uri(Url, "/_notify/" + @event), body);
        Assert.Equal(System.Net.HttpStatusCode.OK, response.StatusCode);
        var answer = await response.Content.ReadFromJsonAsync<JsonElement>();
        Assert.True(answer.GetProperty("ok").GetBoolean());
        return answer.GetProperty("id").GetString()!;
    }

    /// <summary>Publishes over HTTP, and checks that this is the next that a client of <c>/ws</c> gets.</summary>
    public async Task ReachesAsync(TestClient client, string @event, string json)
    {
        await client.GetsAsync(@event, json, await NotifyAsync(@event, json));
    }

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await _factory.DisposeAsync();
    }

    /// <summary>What each node in this process has set, its clock, and what it logs.</summary>
    internal static void Configure(
        IWebHostBuilder builder,
        (string Key, string Value)[] settings,
        ManualTime time,
        NodeLog log
    )
    {
        builder.UseSetting("Dmb:Port", "0");
        builder.UseSetting("Dmb:RedisHost", "none");

        // The clock stands still, so that a node that is disposed of would wait for the window to end.
        builder.UseSetting("Dmb:DrainWindow", "0");

        // The frames of rooms without history, except where a test is about that.
        builder.UseSetting("Dmb:HistorySize", "0");
        foreach (var (key, value) in settings)
        {
            builder.UseSetting("Dmb:" + key, value);
        }

        builder.ConfigureLogging(logging => logging.SetMinimumLevel(LogLevel.Warning).AddProvider(log));
        // The host's patience is of the real clock, which goes on while the test holds the other one.
        builder.ConfigureTestServices(services =>
            services
                .PostConfigure<HostOptions>(host => host.ShutdownTimeout += Patience)
                .Replace(ServiceDescriptor.Singleton<TimeProvider>(time))
        );
    }

    private sealed class Factory : WebApplicationFactory<Program>
    {
        private readonly (string Key, string Value)[] _settings;

        public Factory((string Key, string Value)[] settings)
        {
            _settings = settings;

            // Without a port: the factory would set it while the app may already be starting.
            UseKestrel();
        }

        public ManualTime Time { get; } = new();

        public NodeLog Log { get; } = new();

        protected override void ConfigureWebHost(IWebHostBuilder builder) => Configure(builder, _settings, Time, Log);
    }
}

internal static class Arrival
{
    /// <summary>Checks that the next that a client gets is this message, to the byte.</summary>
    public static async Task GetsAsync(this TestClient client, string @event, string data, string id)
    {
        Assert.Equal($$"""{"event":"{{@event}}","data":{{data}},"id":"{{id}}"}""", await client.ReadAsync());
    }
}

/// <summary>One node for all tests of a class, where they don't disturb each other.</summary>
public sealed class NodeFixture : IAsyncLifetime
{
    public Node Node { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Node = await Node.StartAsync();

    public ValueTask DisposeAsync() => Node.DisposeAsync();
}
