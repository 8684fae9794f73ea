using System.Net.Sockets;

namespace Dmb.Tests.Support;

/// <summary>
/// Pushes numbered messages one after the other over a connection that it keeps, as libcurl does, and opens another
/// only when an answer said that the last one ends. It stops when nobody listens any more.
/// </summary>
public sealed class KeptAlive(int port, string publisher)
{
    private const int WarmAt = 50;
    private readonly List<Numbered> _answered = [];
    private readonly TaskCompletionSource _warm = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Completes when a number of messages were answered.</summary>
    public Task Warm => _warm.Task;

    /// <summary>Those that the broker took.</summary>
    public IReadOnlyList<Numbered> Answered => _answered;

    /// <summary>
    /// What was sent on a connection that had answered before and then ended without a word: libcurl sends that again.
    /// A new connection may be reset as well as refused: the kernel has taken it, and the broker never saw it.
    /// </summary>
    public List<string> Unanswered { get; } = [];

    /// <summary>How often it was told to open another connection.</summary>
    public int Reconnects { get; private set; }

    public async Task RunAsync()
    {
        for (var number = 0; ; Reconnects++)
        {
            RawHttp http;
            try
            {
                http = await RawHttp.ConnectAsync(port);
            }
            catch (SocketException)
            {
                return;
            }

            using (http)
            {
                var answers = 0;
                for (var goesOn = true; goesOn; number++)
                {
                    var message = new Numbered(publisher, number);
                    try
                    {
                        var answer = await http.AskAsync("POST /_notify/call", message.Data());
                        answer.TakenId();
                        goesOn = !answer.SaysClose;
                        _answered.Add(message);
                        answers++;
                    }
                    catch (IOException e)
                    {
                        if (answers > 0)
                        {
                            Unanswered.Add($"{message}, connection {Reconnects}: {e.Message}");
                        }

                        goesOn = false;
                    }

                    if (number == WarmAt)
                    {
                        _warm.TrySetResult();
                    }
                }
            }
        }
    }
}
