using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Dmb.Bench.Fuzz;

/// <summary>Sends one case over a connection of its own, and looks at what comes back.</summary>
internal static class CaseRun
{
    // An answer, or the next frame, takes less than this; what doesn't end by itself gives none.
    private const int MomentMs = 4;
    private const int MomentsMax = 15;
    private const int AnswerBytesMax = 4 * 1024 * 1024;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    /// <summary>What a broker must never do, or null, and how it answered, in a word.</summary>
    public static async Task<(string? Fault, string Answer)> RunAsync(FuzzCase sent, IPEndPoint node)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)
        {
            NoDelay = true,
        };
        var answer = new byte[16 * 1024];
        var length = 0;
        var ended = false;
        using var patience = new CancellationTokenSource(Patience);
        try
        {
            await socket.ConnectAsync(node, patience.Token);
            var readsToEnd = sent.Leaving is Leaving.End or Leaving.EndAfterAnswer;
            var receiving = ReceiveAsync(readsToEnd);
            await SendAsync(
                socket,
                sent,
                () =>
                    (
                        IsAnswered(sent, answer.AsSpan(0, Volatile.Read(ref length))) || Volatile.Read(ref ended),
                        SidOf(answer.AsSpan(0, Volatile.Read(ref length)))
                    ),
                patience.Token
            );
            if (readsToEnd)
            {
                var before = 0;
                for (
                    var moments = sent.Leaving == Leaving.End ? MomentsMax : 0;
                    moments < MomentsMax
                        && !receiving.IsCompleted
                        && (before == 0 || before != Volatile.Read(ref length));
                    moments++
                )
                {
                    before = Volatile.Read(ref length);
                    await Task.Delay(TimeSpan.FromMilliseconds(MomentMs), TimeProvider.System, patience.Token);
                }

                End(socket);
                while (!receiving.IsCompleted && !IsKeptStream(answer.AsSpan(0, Volatile.Read(ref length))))
                {
                    await Task.Delay(TimeSpan.FromMilliseconds(MomentMs), TimeProvider.System, patience.Token);
                }

                socket.Close();
                await receiving;
            }
            else
            {
                if (sent.Leaving == Leaving.ResetAfterAnswer)
                {
                    await Task.WhenAny(
                        receiving,
                        Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, patience.Token)
                    );
                }

                socket.LingerState = new LingerOption(enable: true, seconds: 0);
                socket.Close();
                await receiving;
            }
        }
        catch (OperationCanceledException)
        {
            return (
                $"the connection is still open {Patience.TotalSeconds} s after the client said that nothing more comes",
                "open"
            );
        }

        var fault = Answers.Fault(answer.AsSpan(0, length), sent, out var word);
        return (fault, word);

        async Task ReceiveAsync(bool toEnd)
        {
            try
            {
                while (await socket.ReceiveAsync(answer.AsMemory(length), patience.Token) is > 0 and var received)
                {
                    Volatile.Write(ref length, length + received);
                    if (!toEnd && length >= answer.Length / 2)
                    {
                        break;
                    }

                    if (length == answer.Length)
                    {
                        if (length >= AnswerBytesMax)
                        {
                            // Enough: it is read, and no longer looked at.
                            length = AnswerBytesMax / 2;
                        }
                        else
                        {
                            Array.Resize(ref answer, 2 * answer.Length);
                        }
                    }
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // Reset by the broker, or closed by the client.
            }
            finally
            {
                Volatile.Write(ref ended, true);
            }
        }
    }

    /// <summary>Whether a stream goes on: a client that has ended its side is sent a ping.</summary>
    private static bool IsKeptStream(ReadOnlySpan<byte> answer) =>
        answer.IndexOf("text/event-stream"u8) is >= 0 and var at
        && (answer[at..].IndexOf("\n:\n\n"u8) >= 0 || answer[at..].IndexOf("event: ping"u8) >= 0);

    /// <summary>Whether the first piece is answered as far as the second one needs it.</summary>
    private static bool IsAnswered(FuzzCase sent, ReadOnlySpan<byte> answer) =>
        answer.IndexOf("\r\n\r\n"u8) >= 0 && (!sent.AwaitsSid || answer.IndexOf("\"upgrades\""u8) >= 0);

    /// <summary>The sid of an open packet; empty if there is none.</summary>
    private static string SidOf(ReadOnlySpan<byte> answer)
    {
        var name = "\"sid\":\""u8;
        var start = answer.IndexOf(name);
        var rest = start < 0 ? default : answer[(start + name.Length)..];
        return Encoding.Latin1.GetString(rest[..Math.Max(0, rest.IndexOf((byte)'"'))]);
    }

    private static async Task SendAsync(
        Socket socket,
        FuzzCase sent,
        Func<(bool IsAnswered, string Sid)> look,
        CancellationToken patience
    )
    {
        try
        {
            for (var i = 0; i < sent.Pieces.Length; i++)
            {
                var piece = sent.Pieces[i];
                if (i > 0 && sent.AwaitsSid)
                {
                    piece = Noise.ToBytes(
                        Encoding
                            .Latin1.GetString(piece)
                            .Replace(SocketIoCases.Sid, look().Sid, StringComparison.Ordinal)
                    );
                }

                for (var left = piece.AsMemory(); left.Length > 0; )
                {
                    left = left[await socket.SendAsync(left, patience)..];
                }

                while (i == 0 && sent.AwaitsHead && !look().IsAnswered)
                {
                    await Task.Delay(TimeSpan.FromMilliseconds(1), TimeProvider.System, patience);
                }
            }
        }
        catch (SocketException)
        {
            // The broker takes no more.
        }
    }

    private static void End(Socket socket)
    {
        try
        {
            socket.Shutdown(SocketShutdown.Send);
        }
        catch (SocketException)
        {
            // The broker has cut it.
        }
    }
}
