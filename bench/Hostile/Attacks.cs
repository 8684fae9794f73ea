using System.Globalization;
using System.IO.Compression;
using System.Text;
using System.Text.RegularExpressions;

namespace Dmb.Bench.Hostile;

/// <summary>The attacks, each bounded in count and time.</summary>
internal static partial class Attacks
{
    private const int FramesInAll = 1_000_000;
    private const int ConnectsInAll = 20_000;
    private const byte Ping = 0x89;
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    public static readonly Attack[] All =
    [
        new(
            "slow-headers",
            "1,000 requests that send a byte of their headers a second",
            "408 after `DMB_HEADERS_TIMEOUT`",
            (target, end) => DripAsync(target, 1_000, $"GET /healthz HTTP/1.1\r\nHost: {target.Node}\r\nX-Slow: ", end)
        )
        {
            Length = TimeSpan.FromSeconds(15),
        },
        new(
            "slow-handshake",
            "1,000 handshakes of `/ws` that send a byte a second",
            "408 after `DMB_HEADERS_TIMEOUT`",
            (target, end) => DripAsync(target, 1_000, Attacker.Handshake(target.Node, "X-Slow: ")[..^2], end)
        )
        {
            Length = TimeSpan.FromSeconds(15),
        },
        new(
            "slow-body",
            "1,000 pushes that send a byte of their body a second",
            "408 once a body has come slower than 240 bytes a second for 5 s",
            (target, end) =>
                DripAsync(
                    target,
                    1_000,
                    $"POST /_notify/trace HTTP/1.1\r\nHost: {target.Node}\r\nContent-Length: 100000\r\n\r\n",
                    end
                )
        )
        {
            Length = TimeSpan.FromSeconds(15),
        },
        new(
            "unfinished-bodies",
            "1,600 pushes of 262,000 bytes that stop 7,000 bytes before their end",
            "503 once `DMB_MAX_UNFINISHED_BYTES` are held, 408 for those that stay below 240 bytes a second for 5 s",
            UnfinishedAsync
        ),
        new("idle", "9,000 connections that say nothing", "closed after `DMB_HEADERS_TIMEOUT`", IdleAsync)
        {
            Length = TimeSpan.FromSeconds(25),
        },
        new(
            "never-read",
            "500 sockets that never read, in a room with 200 messages of 16 KiB a second",
            "4100 once 1,024 messages or 1 MiB wait",
            NeverReadAsync
        ),
        new(
            "tiny-frames",
            "1,000,000 tiny frames on 4 sockets",
            "takes them as fast as it can, each socket's in turn",
            TinyFramesAsync
        ),
        new(
            "bad-frames",
            "frames that are no JSON, as fast as they are taken, on 4 sockets that come back",
            "4002 at the tenth",
            BadFramesAsync
        ),
        new(
            "deep-json",
            "pushes of 256 KiB nested 131,072 levels, on 8 connections",
            "400 at level 65",
            (target, end) => PushAsync(target, Deep(), end)
        ),
        new(
            "wide-json",
            "pushes of 256 KiB of 37,000 small members, on 8 connections",
            "takes them: they are messages like others",
            (target, end) => PushAsync(target, Wide(), end)
        ),
        new(
            "room-names",
            "100,000 rooms with names of one length and prefix, on 100 sockets",
            "1,000 rooms a session; hashing is randomized",
            RoomNamesAsync
        ),
        new(
            "event-names",
            "12,000 events with names of one length and prefix, on 100 sockets",
            "10,000 events; `too_many_events`",
            EventNamesAsync
        ),
        new(
            "gzip-bomb",
            "pushes of 1 MiB that inflate to 1 GiB, on 4 connections",
            "413 after 256 KiB; no more is inflated",
            GzipBombAsync
        ),
        new(
            "deflate-bomb",
            "frames of 64 KiB that inflate to 64 MiB, on 4 sockets that come back, with `DMB_WS_COMPRESSION`",
            "1009 after 256 KiB; the rest is read and forgotten until the goodbye",
            DeflateBombAsync
        )
        {
            Settings = [("DMB_WS_COMPRESSION", "true")],
        },
        new(
            "ping-flood",
            "RFC 6455 pings as fast as they are taken, on 4 sockets that read the pongs and 4 that don't",
            "pongs; 4100 to those that don't read them",
            PingFloodAsync
        ),
        new(
            "join-storm",
            "100 sockets that join and leave rooms as fast as they are taken",
            "joins and leaves",
            JoinStormAsync
        ),
        new(
            "reconnect-storm",
            "20,000 sockets that open, read the welcome and are reset, 64 at a time",
            "a session each, gone at once",
            ReconnectStormAsync
        ),
        .. SocketIoAttacks.All,
    ];

    /// <summary>Sends the beginning, and then a byte every second.</summary>
    private static async Task DripAsync(Target target, int count, string begin, CancellationToken end)
    {
        var attackers = await OpenAsync(count, async () => target.Hold(await Attacker.ConnectAsync(target.Node, end)));
        foreach (var attacker in attackers)
        {
            await attacker.SendAsync(Encoding.ASCII.GetBytes(begin), end);
            attacker.Read(end);
        }

        using var timer = new PeriodicTimer(Second);
        while (await timer.WaitForNextTickAsync(end))
        {
            foreach (var attacker in attackers.Where(attacker => attacker.IsOpen))
            {
                await attacker.SendAsync("x"u8.ToArray(), end);
            }
        }
    }

    private static async Task UnfinishedAsync(Target target, CancellationToken end)
    {
        var head = $"POST /_notify/trace HTTP/1.1\r\nHost: {target.Node}\r\nContent-Length: 262000\r\n\r\n";
        byte[] begun = [.. Encoding.ASCII.GetBytes(head), .. Enumerable.Repeat((byte)'1', 255_000)];
        await OpenAsync(1_600, async () =>
        {
            var attacker = target.Hold(await Attacker.ConnectAsync(target.Node, end));
            attacker.Read(end);
            await attacker.SendAsync(begun, end);
            return attacker;
        });
        await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, end);
    }

    private static async Task IdleAsync(Target target, CancellationToken end)
    {
        foreach (
            var attacker in await OpenAsync(9_000, async () =>
                target.Hold(await Attacker.ConnectAsync(target.Node, end))
            )
        )
        {
            attacker.Read(end);
        }

        await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, end);
    }

    private static async Task NeverReadAsync(Target target, CancellationToken end)
    {
        var sockets = await OpenAsync(500, async () =>
        {
            var attacker = await Attacker.OpenAsync(target.Node, end, receiveBytes: 4_096);
            await attacker.SendAsync(Attacker.Text("""{"event":"subscribe","data":"flood:1"}"""), end);
            return attacker;
        });
        var message = Post(target, $$"""{"_in":"flood:1","x":"{{new string('x', 16_000)}}"}""");
        using var publisher = await Attacker.ConnectAsync(target.Node, end);
        publisher.Read(end);
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(50));
        try
        {
            while (await timer.WaitForNextTickAsync(end))
            {
                for (var i = 0; i < 10; i++)
                {
                    await publisher.SendAsync(message, end);
                }
            }
        }
        finally
        {
            // Nobody reads what it is closed with: the broker has counted.
            using var http = new HttpClient();
            var closed = ClosedAsSlow()
                .Match(await http.GetStringAsync(new Uri($"http://{target.Node}/metrics"), CancellationToken.None));
            target.Count("4100", closed.Success ? int.Parse(closed.Groups[1].Value, CultureInfo.InvariantCulture) : 0);
            sockets.ForEach(socket => socket.Dispose());
        }
    }

    private static Task TinyFramesAsync(Target target, CancellationToken end)
    {
        const int Sockets = 4,
            Batch = 1_000;
        byte[] frames = [.. Enumerable.Repeat(Attacker.Text("""{"event":"x"}"""), Batch).SelectMany(frame => frame)];
        return AtOnceAsync(Sockets, async () =>
        {
            var attacker = target.Hold(await Attacker.OpenAsync(target.Node, end));
            attacker.Read(end);
            for (var sent = 0; sent < FramesInAll / Sockets && await attacker.SendAsync(frames, end); sent += Batch)
            {
                target.Count("frames taken", Batch);
            }
        });
    }

    private static Task BadFramesAsync(Target target, CancellationToken end)
    {
        byte[] frames = [.. Enumerable.Repeat(Attacker.Text("{"), 100).SelectMany(frame => frame)];
        return AtOnceAsync(4, () => ComeBackAsync(target, "", frames, end));
    }

    private static Task PushAsync(Target target, string body, CancellationToken end)
    {
        var push = Post(target, body);
        return AtOnceAsync(8, async () =>
        {
            using var attacker = await Attacker.ConnectAsync(target.Node, end);
            while (await attacker.SendAsync(push, end) && await attacker.ReadSomeAsync(end) is { Length: >= 12 } answer)
            {
                target.Count(answer[9..12]);
            }
        });
    }

    private static async Task RoomNamesAsync(Target target, CancellationToken end)
    {
        const int Sockets = 100,
            Rooms = 1_000,
            AFrame = 100;
        var number = 0;
        await OpenAsync(Sockets, async () =>
        {
            var attacker = target.Hold(await Attacker.OpenAsync(target.Node, end));
            attacker.Read(end);
            for (var i = 0; i < Rooms; i += AFrame)
            {
                var first = Interlocked.Add(ref number, AFrame);
                var rooms = string.Join(
                    ',',
                    Enumerable.Range(first, AFrame).Select(n => $"\"number:1500555{n:D150}\"")
                );
                await attacker.SendAsync(Attacker.Text($$"""{"event":"subscribe","data":[{{rooms}}]}"""), end);
            }

            return attacker;
        });
        await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, end);
    }

    private static async Task EventNamesAsync(Target target, CancellationToken end)
    {
        const int Sockets = 100,
            Events = 12_000;
        var attackers = await OpenAsync(Sockets, async () => target.Hold(await Attacker.OpenAsync(target.Node, end)));
        attackers.ForEach(attacker => attacker.Read(end));
        for (var i = 0; i < Events; i++)
        {
            await attackers[i % Sockets]
                .SendAsync(Attacker.Text($$$"""{"event":"register","data":{"event":"an_event_{{{i:D100}}}"}}"""), end);
        }

        await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, end);
    }

    private static Task GzipBombAsync(Target target, CancellationToken end)
    {
        var bomb = Compressed(1 << 30, stream => new GZipStream(stream, CompressionLevel.Optimal));
        byte[] push =
        [
            .. Encoding.ASCII.GetBytes(
                $"POST /_notify/trace HTTP/1.1\r\nHost: {target.Node}\r\nContent-Encoding: "
                    + $"gzip\r\nTransfer-Encoding: chunked\r\n\r\n{bomb.Length:x}\r\n"
            ),
            .. bomb,
            .. "\r\n0\r\n\r\n"u8,
        ];
        return AtOnceAsync(4, async () =>
        {
            while (!end.IsCancellationRequested)
            {
                using var attacker = await Attacker.ConnectAsync(target.Node, end);
                attacker.Read(end);
                await attacker.SendAsync(push, end);
                await attacker.Reading!;
                target.CountEnded(attacker);
            }
        });
    }

    private static Task DeflateBombAsync(Target target, CancellationToken end)
    {
        byte[] bomb = [.. Compressed(64 << 20, stream => new DeflateStream(stream, CompressionLevel.Optimal)), 0];
        return AtOnceAsync(4, () =>
            ComeBackAsync(target, "Sec-WebSocket-Extensions: permessage-deflate\r\n", Attacker.Frame(0xC1, bomb), end)
        );
    }

    private static Task PingFloodAsync(Target target, CancellationToken end)
    {
        byte[] pings = [.. Enumerable.Repeat(Attacker.Frame(Ping, new byte[125]), 100).SelectMany(frame => frame)];
        var number = 0;
        return AtOnceAsync(8, async () =>
        {
            var reads = Interlocked.Increment(ref number) % 2 == 0;
            var attacker = target.Hold(await Attacker.OpenAsync(target.Node, end, receiveBytes: reads ? 0 : 4_096));
            if (reads)
            {
                attacker.Read(end);
            }

            while (await attacker.SendAsync(pings, end))
            {
                target.Count("pings taken", 100);
            }
        });
    }

    private static async Task JoinStormAsync(Target target, CancellationToken end)
    {
        var number = 0;
        await AtOnceAsync(100, async () =>
        {
            var random = new Random(Interlocked.Increment(ref number));
            var attacker = target.Hold(await Attacker.OpenAsync(target.Node, end));
            attacker.Read(end);
            var frames = new List<byte>();
            do
            {
                frames.Clear();
                for (var i = 0; i < 20; i++)
                {
                    var room = $"storm:{random.Next(10_000)}";
                    frames.AddRange(Attacker.Text($$"""{"event":"join","data":"{{room}}"}"""));
                    frames.AddRange(Attacker.Text($$"""{"event":"leave","data":"{{room}}"}"""));
                }

                target.Count("joins and leaves taken", 40);
            } while (await attacker.SendAsync(frames.ToArray(), end));
        });
    }

    private static async Task ReconnectStormAsync(Target target, CancellationToken end)
    {
        var left = ConnectsInAll;
        await AtOnceAsync(64, async () =>
        {
            while (Interlocked.Decrement(ref left) >= 0 && !end.IsCancellationRequested)
            {
                using var attacker = await Attacker.ConnectAsync(target.Node, end);
                await attacker.SendAsync(Encoding.ASCII.GetBytes(Attacker.Handshake(target.Node)), end);
                var said = "";
                while (attacker.IsOpen && !said.Contains("welcome", StringComparison.Ordinal))
                {
                    said += await attacker.ReadSomeAsync(end);
                }

                target.Count(attacker.IsOpen ? "welcomed" : attacker.Outcome);
            }
        });
    }

    /// <summary>Opens a socket, sends the frames, and again once it was closed for them.</summary>
    private static async Task ComeBackAsync(Target target, string headers, byte[] frames, CancellationToken end)
    {
        while (!end.IsCancellationRequested)
        {
            using var attacker = await Attacker.OpenAsync(target.Node, end, headers);
            attacker.Read(end);
            for (var i = 0; i < 10 && await attacker.SendAsync(frames, end); i++)
            {
                // Until it is closed.
            }

            // Whoever was told to go says goodbye.
            await attacker.SendAsync(Attacker.Frame(0x88, [3, 232]), end);
            await attacker.Reading!;
            target.CountEnded(attacker);
        }
    }

    private static byte[] Post(Target target, string body) =>
        Encoding.ASCII.GetBytes(
            $"POST /_notify/trace HTTP/1.1\r\nHost: {target.Node}\r\nContent-Length: {body.Length}\r\n\r\n{body}"
        );

    private static string Deep() => new string('[', 131_072) + new string(']', 131_072);

    private static string Wide()
    {
        var body = new StringBuilder("{\"a\":0");
        while (body.Length < 262_144 - 8)
        {
            body.Append(",\"a\":0");
        }

        return body.Append('}').ToString();
    }

    private static byte[] Compressed(int bytes, Func<Stream, Stream> format)
    {
        using var compressed = new MemoryStream();
        using (var stream = format(compressed))
        {
            var blank = Enumerable.Repeat((byte)' ', 1 << 20).ToArray();
            for (var written = 0; written < bytes; written += blank.Length)
            {
                stream.Write(blank);
            }
        }

        return compressed.ToArray();
    }

    [GeneratedRegex("dmb_sessions_closed_total\\{[^}]*code=\"4100\"[^}]*\\} (\\d+)")]
    private static partial Regex ClosedAsSlow();

    /// <summary>Some at once, one after the other in each of 32 rows.</summary>
    private static async Task<List<Attacker>> OpenAsync(int count, Func<Task<Attacker>> openAsync)
    {
        var opened = new Attacker[count];
        var next = -1;
        await AtOnceAsync(32, async () =>
        {
            for (var i = Interlocked.Increment(ref next); i < count; i = Interlocked.Increment(ref next))
            {
                opened[i] = await openAsync();
            }
        });
        return [.. opened];
    }

    private static Task AtOnceAsync(int count, Func<Task> doAsync) =>
        Task.WhenAll(Enumerable.Range(0, count).Select(_ => Task.Run(doAsync)));
}
