using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Text.Json;
using Dmb.Access;
using Dmb.Bench.Load;
using Dmb.Sockets;
using Microsoft.Extensions.DependencyInjection;

namespace Dmb.Bench.Operator;

/// <summary>
/// What it costs to list sessions: three nodes over one Redis, all in this process, with 100,000 sessions without
/// connections. Measures one page, the walk through all pages, and the stream of all.
/// </summary>
internal static class SessionListBench
{
    private const int Nodes = 3;
    private const int Sessions = 100_000;
    private const int PageSize = 500;
    private const int Rounds = 3;

    /// <summary>Prints the figures; returns whether the walk found each session once.</summary>
    public static bool Run()
    {
        using var redis = RedisProcess.Start();
        var nodes = new NodeHost[Nodes];
        for (var i = 0; i < Nodes; i++)
        {
            nodes[i] = NodeHost.Start(ServerProcess.FreePort(), redis.Port);
        }

        for (var i = 0; i < Sessions; i++)
        {
            Open(nodes[i % Nodes].Services.GetRequiredService<SessionTable>(), i);
        }

        using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{nodes[0].Port}") };
        var isComplete = true;
        for (var round = 0; round < Rounds; round++)
        {
            Measure("one page of 50", () => Page(http, 50, null).Items);
            Measure("one page of 500", () => Page(http, PageSize, null).Items);
            Measure("one user of 100,000", () => Page(http, 50, null, "&user=user-77777").Items);
            isComplete &= Measure("all pages of 500", () => Walk(http)) == Sessions;
            isComplete &= Measure("a stream of all", () => Stream(http)) == Sessions;
        }

        return isComplete;
    }

    private static int Walk(HttpClient http)
    {
        var seen = new HashSet<string>();
        string? after = null;
        do
        {
            (_, after) = Page(http, PageSize, after, seen: seen);
        } while (after is not null);

        return seen.Count;
    }

    private static int Stream(HttpClient http)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri("/sessions", UriKind.Relative));
        request.Headers.Accept.ParseAdd("application/x-ndjson");
        using var answer = http.Send(request, HttpCompletionOption.ResponseHeadersRead);
        using var body = new StreamReader(answer.Content.ReadAsStream());
        var (lines, last) = (0, "");
        for (; body.ReadLine() is { } line; last = line)
        {
            lines++;
        }

        return last == """{"missing":[]}""" ? lines - 1 : throw new TimeoutException("A node did not answer.");
    }

    private static (int Items, string? Next) Page(
        HttpClient http,
        int limit,
        string? after,
        string filter = "",
        HashSet<string>? seen = null
    )
    {
        var query = string.Create(CultureInfo.InvariantCulture, $"/sessions?limit={limit}&after={after}{filter}");
        using var answer = http.GetAsync(new Uri(query, UriKind.Relative)).GetAwaiter().GetResult();
        using var body = answer.Content.ReadAsStream();
        using var page = JsonDocument.Parse(body);
        var items = page.RootElement.GetProperty("items");
        foreach (var item in seen is null ? default : items.EnumerateArray())
        {
            seen!.Add(item.GetProperty("session").GetString()!);
        }

        return page.RootElement.GetProperty("missing").GetArrayLength() == 0
            ? (items.GetArrayLength(), page.RootElement.GetProperty("next").GetString())
            : throw new TimeoutException("A node did not answer within a second.");
    }

    private static int Measure(string name, Func<int> list)
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        var (allocated, live) = (
            GC.GetTotalAllocatedBytes(precise: true),
            GC.GetTotalMemory(forceFullCollection: true)
        );
        var peak = live;
        using var ending = new CancellationTokenSource();
        var watch = new Thread(() =>
        {
            while (!ending.Token.WaitHandle.WaitOne(1))
            {
                peak = Math.Max(peak, GC.GetTotalMemory(forceFullCollection: false));
            }
        });
        watch.Start();
        var (start, cpu) = (Stopwatch.GetTimestamp(), Linux.CpuTime(Environment.ProcessId));
        var items = list();
        var (elapsed, used) = (Stopwatch.GetElapsedTime(start), Linux.CpuTime(Environment.ProcessId) - cpu);
        ending.Cancel();
        watch.Join();
        var bytes = GC.GetTotalAllocatedBytes(precise: true) - allocated;
        Console.WriteLine(
            $"{name, -20} {items, 7:N0} sessions, {elapsed.TotalMilliseconds, 8:N1} ms, {used.TotalMilliseconds, 8:N1} ms "
                + $"of CPU, {bytes / 1e6, 8:N2} MB allocated, {(peak - live) / 1e6, 6:N1} MB above the rest at most"
        );
        return items;
    }

    private static void Open(SessionTable table, int number)
    {
        var name = string.Create(CultureInfo.InvariantCulture, $"user-{number}");
        var caller = Caller.User(name, isAdmin: false, [], DateTimeOffset.MaxValue);
        var session = new Session(table, caller, WebSocketWire.Plain, new Nowhere())
        {
            Id = Guid.NewGuid().ToString("N"),
            Address = new IPAddress([10, (byte)(number >> 16), (byte)(number >> 8), (byte)number]),
            Agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36",
        };
        table.Add(session);
    }

    /// <summary>A connection whose frames go nowhere.</summary>
    private sealed class Nowhere : IFrameOutput
    {
        public ValueTask<int> WriteAsync(ReadOnlyMemory<byte> frames) => ValueTask.FromResult(frames.Length);

        public void Abort() { }
    }
}
