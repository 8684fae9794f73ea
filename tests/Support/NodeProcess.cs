using System.Globalization;
using System.Net.Http.Json;
using System.Net.Mime;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Dmb.Tests.Support;

/// <summary>The broker as it is shipped: a process of its own, with its own clock, on a free port.</summary>
public sealed partial class NodeProcess : IAsyncDisposable
{
    /// <summary>
    /// Groups of rooms that nodes have where a test does not set them: <c>DMB_TEST_GROUPS</c>, or one. Tests of names
    /// in Redis fail with another number.
    /// </summary>
    public static readonly int Groups = int.Parse(
        Environment.GetEnvironmentVariable("DMB_TEST_GROUPS") is { Length: > 0 } groups ? groups : "1",
        CultureInfo.InvariantCulture
    );

    private static readonly (string, string)[] Defaults =
    [
        // Not where a test sets PORT, which this wins over.
        ("DMB_PORT", "0"),
        // The frames of rooms without history, except where a test is about that.
        ("DMB_HISTORY_SIZE", "0"),
        // So that no reader is closed for being slow while the machine is busy.
        ("DMB_MAX_PENDING_MESSAGES", "65536"),
        ("DMB_MAX_PENDING_BYTES", "67108864"),
        // Nor a message dropped because Redis took its time to start again.
        ("DMB_SPOOL_TIME", "600"),
        ("DMB_GROUPS", $"{Groups}"),
    ];

    /// <summary>
    /// For tests that are not about Redis being away: so that it isn't taken to be while the machine is busy.
    /// </summary>
    public static readonly (string, string)[] Patient = [("DMB_PUBLISH_TIMEOUT", "30"), ("DMB_PROBE_INTERVAL", "30")];

    private readonly ChildProcess _process;

    private NodeProcess(ChildProcess process, Uri url)
    {
        (_process, Url) = (process, url);
        Http = new HttpClient { BaseAddress = url, Timeout = Node.Patience };
    }

    public Uri Url { get; }

    public HttpClient Http { get; }

    /// <summary>What it logged so far.</summary>
    public string[] Log => _process.Lines;

    /// <summary>Bytes of memory that it holds now.</summary>
    public long MemoryBytes => _process.MemoryBytes;

    /// <summary>Whether it has mapped a file of that name, such as a library.</summary>
    public bool HasMapped(string file) => _process.HasMapped(file);

    /// <summary>
    /// The published program that is tested, such as a native one; null: the one that the tests were built with.
    /// </summary>
    private static string? App { get; set; }

    /// <summary>Takes <c>DMB_TEST_APP</c> out of the environment: it is no setting of the broker.</summary>
    [ModuleInitializer]
    internal static void TakeApp()
    {
        App = Environment.GetEnvironmentVariable("DMB_TEST_APP") is { Length: > 0 } app ? Path.GetFullPath(app) : null;
        Environment.SetEnvironmentVariable("DMB_TEST_APP", null);
    }

    /// <summary>The folder of the program that is tested.</summary>
    public static string AppDirectory => App is null ? AppContext.BaseDirectory : Path.GetDirectoryName(App)!;

    /// <summary>What a shell has to run for it, its arguments to follow.</summary>
    public static string CommandLine => App ?? $"dotnet {Path.Combine(AppContext.BaseDirectory, "Dmb.dll")}";

    /// <summary>Starts the program with these arguments, and nothing set but what the test sets.</summary>
    public static ChildProcess RunBare(
        IEnumerable<string> arguments,
        string directory,
        params (string Name, string Value)[] environment
    ) =>
        App is null
            ? ChildProcess.Start(
                "dotnet",
                [Path.Combine(AppContext.BaseDirectory, "Dmb.dll"), .. arguments],
                directory,
                environment
            )
            : ChildProcess.Start(App, arguments, directory, environment);

    /// <summary>Starts a process that may end at once, such as one with a bad setting.</summary>
    public static ChildProcess Run(params (string Name, string Value)[] environment) =>
        RunBare(
            [],
            AppDirectory,
            [.. environment.Any(one => one.Name == "PORT") ? Defaults[1..] : Defaults, .. environment]
        );

    /// <summary>Starts a node, and waits until it listens; Redis need not be there.</summary>
    public static async Task<NodeProcess> StartAsync(params (string Name, string Value)[] environment)
    {
        var process = Run(environment);
        try
        {
            var url = Address().Match(await process.LineAsync(" listens on ")).Groups[1].Value;
            return new NodeProcess(
                process,
                new Uri(url.Replace("//0.0.0.0:", "//127.0.0.1:", StringComparison.Ordinal))
            );
        }
        catch
        {
            await process.DisposeAsync();
            throw;
        }
    }

    /// <summary>Starts a node, and waits until it is ready.</summary>
    public static async Task<NodeProcess> StartReadyAsync(params (string Name, string Value)[] environment)
    {
        var node = await StartAsync(environment);
        try
        {
            await node.BecomesAsync("ready");
            return node;
        }
        catch
        {
            await node.DisposeAsync();
            throw;
        }
    }

    /// <summary>Starts a node that sends to a collector, and waits until it does.</summary>
    public static async Task<NodeProcess> StartExportingAsync(params (string Name, string Value)[] environment)
    {
        var node = await StartAsync(environment);
        try
        {
            await node.LogAsync("Exported over OTLP from now on");
            return node;
        }
        catch
        {
            await node.DisposeAsync();
            throw;
        }
    }

    /// <summary>The first line of the log that has this in it, now or soon.</summary>
    public Task<string> LogAsync(string part) => _process.LineAsync(part);

    /// <summary>Asks how it is until it says so; its answers set the pace.</summary>
    public async Task BecomesAsync(string status, string reason = "")
    {
        using var patience = new CancellationTokenSource(Node.Patience);
        string said;
        do
        {
            try
            {
                said = await Http.GetStringAsync(new Uri(Url, "/readyz"), CancellationToken.None);
            }
            catch (HttpRequestException e)
            {
                said = e.Message;
                await patience.CancelAsync();
            }

            Assert.False(patience.IsCancellationRequested, $"Still {said}, not {status}:\n{string.Join('\n', Log)}");
        } while (
            !said.StartsWith($"{{\"status\":\"{status}\"", StringComparison.Ordinal)
            || !said.Contains(reason, StringComparison.Ordinal)
        );
    }

    /// <summary>A client of <c>/ws</c> whose welcome has been read.</summary>
    public async Task<TestClient> ConnectAsync()
    {
        var client = await TestClient.ConnectAsync(new Uri(Url, "/ws"));
        Assert.StartsWith("""{"event":"welcome",""", await client.ReadAsync(), StringComparison.Ordinal);
        return client;
    }

    /// <summary>A client of <c>/ws</c> that is in these rooms, and has read all that was said about it.</summary>
    public async Task<TestClient> JoinAsync(params string[] rooms)
    {
        var client = await ConnectAsync();
        var answer = await client.AckAsync("subscribe", JsonSerializer.Serialize(rooms));
        Assert.Contains("\"ok\":true", answer, StringComparison.Ordinal);
        await client.ReadAllAsync();
        return client;
    }

    /// <summary>Publishes over HTTP and gives the status and the body of the answer.</summary>
    public async Task<(int Status, string Body)> PushAsync(string @event, string json, string? key = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(Url, "/_notify/" + @event));
        request.Content = new StringContent(json, Encoding.UTF8, MediaTypeNames.Application.Json);
        if (key is not null)
        {
            request.Headers.Add("Idempotency-Key", key);
        }

        using var response = await Http.SendAsync(request);
        return ((int)response.StatusCode, await response.Content.ReadAsStringAsync());
    }

    /// <summary>Publishes over HTTP with nothing amiss, and gives the message's id.</summary>
    public async Task<string> NotifyAsync(string @event, string json)
    {
        var (status, body) = await PushAsync(@event, json);
        Assert.Equal((200, "{\"ok\":true,\"id\":"), (status, body.Length < 16 ? body : body[..16]));
        Assert.DoesNotContain("degraded", body, StringComparison.Ordinal);
        return JsonElement.Parse(body).GetProperty("id").GetString()!;
    }

    /// <summary>Publishes a little, so that what is measured later isn't the compiler.</summary>
    public async Task WarmUpAsync()
    {
        for (var i = 0; i < 30; i++)
        {
            await PushAsync("trace", "{}");
        }
    }

    public async Task<JsonElement> GetAsync(string path) =>
        await Http.GetFromJsonAsync<JsonElement>(new Uri(Url, path));

    /// <summary>Kills it, and with it its clients' connections.</summary>
    public Task KillAsync() => _process.KillAsync();

    /// <summary>Asks it to end, and gives its exit code.</summary>
    public async Task<int> TerminateAsync()
    {
        await _process.TerminateAsync();
        return await _process.EndAsync();
    }

    /// <summary>Asks it to end.</summary>
    public void Terminate() => _process.Terminate();

    /// <summary>Asks it to end as Ctrl+C does.</summary>
    public void Interrupt() => _process.Interrupt();

    /// <summary>Has it read its files again.</summary>
    public void HangUp() => _process.HangUp();

    /// <summary>Waits for its end, and gives its exit code.</summary>
    public Task<int> EndAsync() => _process.EndAsync();

    /// <summary>Freezes it.</summary>
    public void Stop() => _process.Stop();

    /// <summary>Lets it go on after <see cref="Stop"/>.</summary>
    public void Continue() => _process.Continue();

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await _process.DisposeAsync();
    }

    [GeneratedRegex(@"listens on (http://[^ ]+:\d+)\.")]
    private static partial Regex Address();
}
