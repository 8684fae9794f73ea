using System.Diagnostics;
using System.Net.WebSockets;
using System.Text;
using System.Text.RegularExpressions;
using Dmb.Bench.Load;
using Dmb.Tests.Support;

namespace Dmb.Bench.Trace;

/// <summary>
/// Pushes once to two nodes, processes over a Redis of their own, and prints the trace that they export.
/// </summary>
internal static partial class TraceRun
{
    private const string Room = "support";

    /// <summary>A request, a publish, and on each of two nodes a receive and a deliver.</summary>
    private const int Spans = 6;

    public static bool Run() => RunAsync().GetAwaiter().GetResult();

    private static async Task<bool> RunAsync()
    {
        using var redis = RedisProcess.Start();
        await using var receiver = await OtlpReceiver.StartAsync();
        var (first, firstUrl) = Start("first", redis, receiver);
        var (second, secondUrl) = Start("second", redis, receiver);
        using (first)
        using (second)
        {
            try
            {
                using var near = await JoinAsync(firstUrl);
                using var far = await JoinAsync(secondUrl);
                using var http = new HttpClient { BaseAddress = firstUrl };
                await ReadyAsync(http);
                using var other = new HttpClient { BaseAddress = secondUrl };
                await ReadyAsync(other);

                await receiver.LogAsync("Exported over OTLP from now on", "first");
                await receiver.LogAsync("Exported over OTLP from now on", "second");

                // The first time everything is compiled; the second is the one to see.
                await TraceAsync(http, receiver);
                Print(await TraceAsync(http, receiver));
                return true;
            }
            finally
            {
                first.Kill();
                second.Kill();
            }
        }
    }

    private static (Process Process, Uri Url) Start(string service, RedisProcess redis, OtlpReceiver receiver)
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "Dmb.dll")]);
        (string, string)[] settings =
        [
            ("DMB_PORT", "0"),
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{redis.Port}"),
            .. receiver.Settings(service),
        ];
        foreach (var (name, value) in settings)
        {
            start.Environment[name] = value;
        }

        var (process, line) = Child.Start(start, Address());
        return (process, new Uri(line.Groups[1].Value));
    }

    private static async Task ReadyAsync(HttpClient http)
    {
        var start = Stopwatch.GetTimestamp();
        while (
            !(await http.GetStringAsync(new Uri("/readyz", UriKind.Relative))).Contains(
                "\"ready\"",
                StringComparison.Ordinal
            )
        )
        {
            if (Stopwatch.GetElapsedTime(start) > TimeSpan.FromSeconds(30))
            {
                throw new TimeoutException("A node does not become ready.");
            }
        }
    }

    /// <summary>A client in the room, who has been told so.</summary>
    private static async Task<ClientWebSocket> JoinAsync(Uri url)
    {
        var client = new ClientWebSocket();
        await client.ConnectAsync(new UriBuilder(url) { Scheme = "ws", Path = "/ws" }.Uri, CancellationToken.None);
        await client.SendAsync(
            Encoding.UTF8.GetBytes($$"""{"event":"subscribe","data":"{{Room}}","ack":1}"""),
            WebSocketMessageType.Text,
            endOfMessage: true,
            CancellationToken.None
        );
        var buffer = new byte[4_096];
        string text;
        do
        {
            text = Encoding.UTF8.GetString(
                buffer,
                0,
                (await client.ReceiveAsync(buffer, CancellationToken.None)).Count
            );
        } while (!text.Contains("\"ack\":1", StringComparison.Ordinal));

        return client;
    }

    private static async Task<OtlpSpan[]> TraceAsync(HttpClient http, OtlpReceiver receiver)
    {
        var trace = ActivityTraceId.CreateRandom().ToString();
        using var request = new HttpRequestMessage(HttpMethod.Post, "/_notify/report_csr");
        request.Headers.Add("traceparent", $"00-{trace}-00f067aa0ba902b7-01");
        request.Content = new StringContent("{\"call_id\":\"a84b4c76e66710\"}");
        using var response = await http.SendAsync(request);
        return await receiver.TraceAsync(trace, Spans);
    }

    private static void Print(OtlpSpan[] spans)
    {
        Console.WriteLine($"trace {spans[0].Trace}, from a caller's span 00f067aa0ba902b7");
        Console.WriteLine($"{"span", -34}{"node", -9}{"kind", -10}{"begins", 9}{"takes", 10}");
        var start = spans.Min(span => span.Start);
        PrintUnder("00f067aa0ba902b7", "");

        void PrintUnder(string parent, string indent)
        {
            foreach (var span in spans.Where(span => span.Parent == parent).OrderBy(span => span.Start))
            {
                var kind = span.Kind switch
                {
                    2 => "server",
                    4 => "producer",
                    5 => "consumer",
                    _ => "internal",
                };
                var link =
                    span.Links.Count > 0
                        ? $"  linked to {spans.First(other => other.Id == span.Links[0].Id).Name}"
                        : "";
                Console.WriteLine(
                    $"{indent + span.Name, -34}{span.Service, -9}{kind, -10}{Ms(span.Start - start), 9}{Ms(span.End - span.Start), 10}{link}"
                );
                PrintUnder(span.Id, indent.Length == 0 ? "└─ " : "   " + indent);
            }
        }
    }

    private static string Ms(ulong nanoseconds) => FormattableString.Invariant($"{nanoseconds / 1e6:0.00} ms");

    [GeneratedRegex(@"listens on (http://[^ ]+:\d+)\.")]
    private static partial Regex Address();
}
