using System.Text.Json;

namespace Dmb.Tests.Samples;

/// <summary>What the sample is written in; the first two are for Redis, the others for the broker's sockets.</summary>
public enum Language
{
    Bash,
    Python,
    CSharp,
    JavaScript,
}

/// <summary>A sample, run as samples/README.md says, in a folder of its own.</summary>
/// <param name="language">Which one.</param>
/// <param name="nodes">The broker's nodes.</param>
/// <param name="redis">Their Redis, where the sample is for Redis.</param>
public sealed class DeskProcess(Language language, IReadOnlyList<NodeProcess> nodes, RedisServer? redis)
    : IAsyncDisposable
{
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("dmb-desk");
    private ChildProcess? _process;

    /// <summary>What it said that it is.</summary>
    public string Bkid { get; private set; } = "";

    /// <summary>Starts it, for the first time or again, and waits until it is registered.</summary>
    public async Task StartAsync()
    {
        if (_process is not null)
        {
            await _process.DisposeAsync();
        }

        var samples = Path.Combine(Repository.Root, "samples");
        var (program, arguments) = language switch
        {
            Language.Bash => (Path.Combine(samples, "bash/desk.sh"), Array.Empty<string>()),
            Language.Python => (Path.Combine(samples, "python/desk.py"), []),
            Language.JavaScript => (
                "node",
                [Path.Combine((await NpmFolder.OpenAsync("samples/socketio")).Path, "desk.js"), nodes[0].Url.ToString()]
            ),
            _ => ("dotnet", [Path.Combine(AppContext.BaseDirectory, "Desk.dll"), nodes[0].Url.ToString()]),
        };
        _process = ChildProcess.Start(program, arguments, _directory.FullName, ("REDIS_PORT", $"{redis?.Port}"));
        await RegistersAsync(times: 1);
    }

    /// <summary>Waits until it registered so many times since its start.</summary>
    public async Task RegistersAsync(int times) => Bkid = (await _process!.LineAsync("desk ", times))["desk ".Length..];

    public Task KillAsync() => _process!.KillAsync();

    /// <summary>Asks it to end, and waits until it and all that it started did.</summary>
    public Task TerminateAsync() => _process!.TerminateAsync();

    /// <summary>One of its users, who has not read the greeting yet.</summary>
    public async Task<TestClient> JoinAsync(string user, int node = 0)
    {
        var client = await nodes[node % nodes.Count].ConnectAsync();
        var ack = await client.AckAsync("dmb:connect", JsonSerializer.Serialize(new { service = Bkid, user }));
        Assert.Contains("\"ok\":true", ack, StringComparison.Ordinal);
        Assert.StartsWith("""{"event":"dmb:connected",""", await client.ReadAsync(), StringComparison.Ordinal);
        return client;
    }

    public async ValueTask DisposeAsync()
    {
        if (_process is not null)
        {
            await _process.DisposeAsync();
        }

        _directory.Delete(recursive: true);
    }
}

internal static class DeskUser
{
    /// <summary>Says something to the desk: any JSON.</summary>
    public static async Task SayAsync(this TestClient client, string data) =>
        Assert.Contains(
            "\"ok\":true",
            await client.AckAsync("dmb:message", $$"""{"data":{{data}}}"""),
            StringComparison.Ordinal
        );

    /// <summary>Says a text to the desk.</summary>
    public static Task SayTextAsync(this TestClient client, string text) =>
        client.SayAsync(JsonSerializer.Serialize(text));

    /// <summary>The next that the client hears, which must be a text under this event.</summary>
    public static async Task<string> HearsAsync(this TestClient client, string @event) =>
        JsonSerializer.Deserialize<string>(await client.ReadDataAsync(@event))!;

    /// <summary>Checks that the next that the client hears is the answer to this.</summary>
    public static async Task IsAnsweredAsync(this TestClient client, string text) =>
        Assert.Matches(
            $@"^At \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z you said: {System.Text.RegularExpressions.Regex.Escape(text)}$",
            await client.HearsAsync("dmb:direct")
        );
}
