using System.Text;

namespace Dmb.Commands;

/// <summary>An event of a stream (HTML Living Standard §9.2.6).</summary>
/// <param name="Name">Its name.</param>
/// <param name="Data">Its data, one line.</param>
/// <param name="Id">The id that is current with it; null if none was given.</param>
internal readonly record struct StreamEvent(string Name, string Data, string? Id);

/// <summary>Reads a stream of server-sent events.</summary>
internal sealed class EventStreamReader(HttpResponseMessage answer, Stream body) : IDisposable
{
    /// <summary>
    /// Timeout after which the connection counts as lost; longer than the requested heartbeat interval.
    /// </summary>
    private static readonly TimeSpan Silence = TimeSpan.FromSeconds(60);

    private readonly StreamReader _lines = new(body, Encoding.UTF8);

    /// <summary>The stream's reconnection time (<c>retry</c>); null if it sent none.</summary>
    public TimeSpan? Retry { get; private set; }

    /// <summary>Reads the next event that is not a heartbeat; null at the end of the stream.</summary>
    public async Task<StreamEvent?> ReadAsync(CancellationToken cancellationToken)
    {
        var (name, data, id) = ("", "", (string?)null);
        using var silence = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        silence.CancelAfter(Silence);
        while (await _lines.ReadLineAsync(silence.Token) is { } line)
        {
            silence.CancelAfter(Silence);
            switch (line.Split(": ", 2))
            {
                case [""] when name is not ("" or "ping"):
                    return new StreamEvent(name, data, id);
                case [""]:
                    name = "";
                    break;
                case ["event", var text]:
                    name = text;
                    break;
                case ["data", var text]:
                    data = text;
                    break;
                case ["id", var text]:
                    id = text;
                    break;
                case ["retry", var text] when int.TryParse(text, out var ms):
                    Retry = TimeSpan.FromMilliseconds(ms);
                    break;
            }
        }

        return null;
    }

    public void Dispose()
    {
        _lines.Dispose();
        answer.Dispose();
    }
}

/// <summary>Follows a stream across lost connections, from the last received event.</summary>
internal static class EventStreamFollower
{
    private static readonly TimeSpan AgainMin = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan AgainMax = TimeSpan.FromSeconds(30);

    /// <summary>Calls <paramref name="onEvent"/> for each event until it returns false.</summary>
    /// <param name="client">The broker.</param>
    /// <param name="path">The stream.</param>
    /// <param name="what">The name of what is awaited, for the progress line on stderr.</param>
    /// <param name="onEvent">Receives an event; returns false to end.</param>
    /// <param name="cancellationToken">Ends the stream.</param>
    /// <exception cref="CommandException">
    /// The stream cannot be opened at first, or a reconnection is refused for good.
    /// </exception>
    public static async Task RunAsync(
        BrokerClient client,
        string path,
        string what,
        Func<StreamEvent, bool> onEvent,
        CancellationToken cancellationToken
    )
    {
        string? lastId = null;
        var again = AgainMin;
        for (var isFirst = true; ; isFirst = false)
        {
            var retry = again;
            var why = "the stream ended";
            try
            {
                using var stream = await client.OpenAsync(path, cancellationToken, lastId);
                await Console.Error.WriteLineAsync(
                    $"{(isFirst ? "Waiting" : "Waiting again")} for {what}; Ctrl+C ends it."
                );
                while (await stream.ReadAsync(cancellationToken) is { } one)
                {
                    again = AgainMin;
                    lastId = one.Id ?? lastId;
                    if (!onEvent(one))
                    {
                        return;
                    }
                }

                retry = stream.Retry ?? again;
            }
            catch (CommandException failed) when (!isFirst && failed.MayPass)
            {
                why = failed.Message;
            }
            catch (Exception e) when (BrokerClient.IsNoAnswer(e, cancellationToken))
            {
                why = e is OperationCanceledException ? "the network is silent" : e.Message;
            }

            await Console.Error.WriteLineAsync($"{why}; again in {retry.TotalSeconds:0.0} s.");
            await Task.Delay(retry, TimeProvider.System, cancellationToken);
            again = again * 2 < AgainMax ? again * 2 : AgainMax;
        }
    }
}
