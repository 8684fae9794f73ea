using System.Text;

namespace Dmb.Bench.Hostile;

/// <summary>Attacks by clients of Socket.IO, each bounded in count and time.</summary>
internal static class SocketIoAttacks
{
    private const string Socket = "/socket.io/?EIO=4&transport=websocket";
    private const string Polling = "/socket.io/?EIO=4&transport=polling";
    private const int Levels = 20_000;

    public static readonly Attack[] All =
    [
        new(
            "sid-storm",
            "sessions of Socket.IO that are opened by polling and left, as fast as they are taken, on 8 connections",
            "a session each, closed after `DMB_SILENT_TIMEOUT`; 503 beyond `DMB_MAX_SESSIONS`",
            (target, end) => AskAsync(target, _ => Get(target, Polling), end)
        ),
        new(
            "foreign-sids",
            "polls with sids of others, as fast as they are taken, on 8 connections",
            "400, code 1",
            (target, end) => AskAsync(target, n => Get(target, $"{Polling}&sid=node-{n:x32}"), end)
        ),
        new(
            "socketio-deep",
            $"packets of Socket.IO nested {Levels:N0} levels, on 4 sockets that come back",
            "1009 at level 65",
            (target, end) =>
                ComeBackAsync(target, $"42[\"trace\",{new string('[', Levels)}{new string(']', Levels)}]", end)
        ),
        new(
            "socketio-attachments",
            "packets of Socket.IO that announce more attachments than come, on 4 sockets that come back",
            "4002 at the first",
            (target, end) => ComeBackAsync(target, "4599999999999-[\"trace\",{\"_placeholder\":true,\"num\":-1}]", end)
        ),
        new(
            "probe-only",
            "500 sessions of Socket.IO whose upgrade is probed and never completed",
            "the probe is closed after 10 s; the session goes on by polling",
            ProbeAsync
        )
        {
            Length = TimeSpan.FromSeconds(15),
        },
    ];

    private static Task AskAsync(Target target, Func<int, byte[]> request, CancellationToken end)
    {
        var number = 0;
        return AtOnceAsync(8, async () =>
        {
            using var attacker = await Attacker.ConnectAsync(target.Node, end);
            while (
                await attacker.SendAsync(request(Interlocked.Increment(ref number)), end)
                && await attacker.ReadSomeAsync(end) is { Length: >= 12 } answer
            )
            {
                target.Count(answer.StartsWith("HTTP/1.1 ", StringComparison.Ordinal) ? answer[9..12] : "a part");
            }
        });
    }

    private static Task ComeBackAsync(Target target, string packet, CancellationToken end)
    {
        byte[] frames = [.. Attacker.Text("40"), .. Attacker.Text(packet)];
        return AtOnceAsync(4, async () =>
        {
            while (!end.IsCancellationRequested)
            {
                using var attacker = await Attacker.OpenAsync(target.Node, end, path: Socket);
                attacker.Read(end);
                await attacker.SendAsync(frames, end);

                // The close frame's answer.
                await attacker.SendAsync(Attacker.Frame(0x88, [3, 232]), end);
                await attacker.Reading!;
                target.CountEnded(attacker);
            }
        });
    }

    private static async Task ProbeAsync(Target target, CancellationToken end)
    {
        for (var i = 0; i < 500; i++)
        {
            using var opening = await Attacker.ConnectAsync(target.Node, end);
            await opening.SendAsync(Get(target, Polling), end);
            var said = "";
            while (opening.IsOpen && !said.Contains("\"upgrades\"", StringComparison.Ordinal))
            {
                said += await opening.ReadSomeAsync(end);
            }

            var sid = said.Split("\"sid\":\"")[^1].Split('"')[0];
            var probe = target.Hold(await Attacker.OpenAsync(target.Node, end, path: $"{Socket}&sid={sid}"));
            await probe.SendAsync(Attacker.Text("2probe"), end);
            probe.Read(end);
        }

        await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, end);
    }

    private static byte[] Get(Target target, string path) =>
        Encoding.ASCII.GetBytes($"GET {path} HTTP/1.1\r\nHost: {target.Node}\r\n\r\n");

    private static Task AtOnceAsync(int count, Func<Task> doAsync) =>
        Task.WhenAll(Enumerable.Range(0, count).Select(_ => Task.Run(doAsync)));
}
