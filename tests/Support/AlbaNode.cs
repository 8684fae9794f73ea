using System.Text;
using Alba;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Dmb.Tests.Support;

/// <summary>
/// The whole broker in this process, without a port: requests are scenarios of Alba. For tests of HTTP's shape; what is
/// about bytes, connections or WebSockets takes a <see cref="Node"/>.
/// </summary>
public sealed class AlbaNode : IAsyncDisposable
{
    private readonly NodeLog _log;

    private AlbaNode(IAlbaHost host, ManualTime time, NodeLog log)
    {
        (Host, Time, _log) = (host, time, log);
        Http = host.Server.CreateClient();
        Http.Timeout = Node.Patience;
    }

    public IAlbaHost Host { get; }

    public ManualTime Time { get; }

    /// <summary>For answers that are read while they are written.</summary>
    public HttpClient Http { get; }

    /// <summary>Its warnings and errors so far.</summary>
    public string[] Warnings => _log.Lines;

    /// <summary>Starts a node. A setting's key is its name under <c>Dmb:</c>, such as <c>MaxMessageBytes</c>.</summary>
    public static async Task<AlbaNode> StartAsync(params (string Key, string Value)[] settings)
    {
        var (time, log) = (new ManualTime(), new NodeLog());
        var host = await AlbaHost.For<Program>(builder => Node.Configure(builder, settings, time, log));
        return new AlbaNode(host, time, log);
    }

    /// <summary>Runs a scenario whose assertions are Alba's; the status is 200 unless it says another.</summary>
    public Task<IScenarioResult> Scenario(Action<Scenario> scenario) => Host.Scenario(scenario);

    /// <summary>The answer to a request such as <c>GET /register</c>, of whatever status.</summary>
    public async Task<RawAnswer> AskAsync(string request, string body = "", params string[] headers)
    {
        var result = await Host.Scenario(scenario =>
        {
            scenario.Send(request, body, headers);
            scenario.IgnoreStatusCode();
        });
        var response = result.Context.Response;
        return new RawAnswer(
            response.StatusCode,
            response.Headers.ToDictionary(
                header => header.Key,
                header => header.Value.ToString(),
                StringComparer.OrdinalIgnoreCase
            ),
            await result.ReadAsTextAsync()
        );
    }

    /// <summary>Publishes, and gives the message's id.</summary>
    public async Task<string> NotifyAsync(string @event, string json) =>
        (await AskAsync("POST /_notify/" + @event, json)).TakenId();

    /// <summary>A session in these rooms: a stream of events that has been let in.</summary>
    public async Task<EventReader> JoinAsync(params string[] rooms)
    {
        var query = string.Join('&', rooms.Select(room => "room=" + Uri.EscapeDataString(room)));
        var stream = await EventReader.OpenAsync(Http, new Uri(Http.BaseAddress!, "/events?" + query));
        Assert.Equal(": connected", await stream.ReadAsync());
        return stream;
    }

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await Host.DisposeAsync();
    }
}

/// <summary>What scenarios of Alba don't say by themselves.</summary>
internal static class Scenarios
{
    /// <summary>Sends a request such as <c>GET /register</c>, its target as it would be on the wire.</summary>
    public static void Send(this Scenario scenario, string request, string body = "", params string[] headers)
    {
        var (method, target) = request.Split(' ', 2) is [var first, var second]
            ? (first, second)
            : throw new ArgumentException(request, nameof(request));
        scenario.Get.Url(target);
        scenario.ConfigureHttpContext(context =>
        {
            context.Request.Method = method;
            context.Features.GetRequiredFeature<IHttpRequestFeature>().RawTarget = target;
            context.Request.Body = new MemoryStream(Encoding.UTF8.GetBytes(body));
            context.Request.ContentLength = context.Request.Body.Length;
            foreach (var header in headers)
            {
                var colon = header.IndexOf(':', StringComparison.Ordinal);
                context.Request.Headers.Append(header[..colon], header[(colon + 1)..].Trim());
            }
        });
    }

    /// <summary>Checks that the answer is JSON, to the byte.</summary>
    public static void ShouldBeJson(this Scenario scenario, string json, int status = 200)
    {
        scenario.StatusCodeShouldBe(status);
        scenario.ContentShouldBe(json);
        scenario.Header("Content-Type").SingleValueShouldMatch("^application/json(;|$)");
    }
}

/// <summary>One node for all tests of a class, where they don't disturb each other.</summary>
public sealed class AlbaFixture : IAsyncLifetime
{
    public AlbaNode Node { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Node = await AlbaNode.StartAsync();

    public ValueTask DisposeAsync() => Node.DisposeAsync();
}
