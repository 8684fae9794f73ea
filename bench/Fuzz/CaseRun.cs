using System.Net;
using System.Net.Sockets;

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
                    answer.AsSpan(0, Volatile.Read(ref length)).IndexOf("\r\n\r\n"u8) >= 0 || Volatile.Read(ref ended),
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

        var fault = Answers.Fault(answer.AsSpan(0, length), sent.IsSocket, out var word);
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

    private static async Task SendAsync(Socket socket, FuzzCase sent, Func<bool> hasHead, CancellationToken patience)
    {
        try
        {
            for (var i = 0; i < sent.Pieces.Length; i++)
            {
                for (var left = sent.Pieces[i].AsMemory(); left.Length > 0; )
                {
                    left = left[await socket.SendAsync(left, patience)..];
                }

                while (i == 0 && sent.AwaitsHead && !hasHead())
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
