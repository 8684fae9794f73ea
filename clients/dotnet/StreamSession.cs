using System.Net.ServerSentEvents;
using System.Text.Json;

namespace Dmb.Client;

/// <summary>
/// A session over server-sent events and HTTP (docs/protocol.md §3), for where no WebSocket can be opened. A stream has
/// the rooms that it was opened with: another set of rooms is another stream.
/// </summary>
internal sealed class StreamSession(DmbClientOptions options, ClientState state, TimeProvider time, Uri node)
    : Session(options, state, time, node)
{
    // A stream has no welcome to say other ones.
    private static readonly TimeSpan Ping = TimeSpan.FromSeconds(25);
    private static readonly TimeSpan Silent = TimeSpan.FromSeconds(45);

    private long? _retry;

    public override DmbTransport Transport => DmbTransport.ServerSentEvents;

    public override async Task<JsonElement> RequestAsync(
        string @event,
        Action<Utf8JsonWriter> data,
        CancellationToken cancellationToken
    )
    {
        var (path, body) = @event switch
        {
            "dmb:broadcast" or "dmb:direct" => ($"backend/{State.Bkid}/messages", BackendMessage(data)),
            "register" => ("register", data),
            _ when @event.StartsWith("dmb:", StringComparison.Ordinal) => throw new DmbException(
                "needs_socket",
                "This needs a WebSocket."
            ),
            _ => ($"_notify/{Uri.EscapeDataString(@event)}", data),
        };
        try
        {
            var answer = await Http.AskAsync(HttpMethod.Post, path, body, cancellationToken).ConfigureAwait(false);
            return answer.Member("ok") is { ValueKind: JsonValueKind.True }
                ? answer
                : throw new DmbException("unknown_event", $"The event {@event} is not registered.");
        }
        catch (HttpRefusal refused)
        {
            throw refused.Error;
        }
        catch (Exception e) when (e is HttpRequestException or IOException or ObjectDisposedException)
        {
            throw DmbException.ConnectionLost();
        }
        catch (JsonException e)
        {
            throw new DmbException("bad_frame", e.Message);
        }
    }

    public override Task SubscribeAsync(IReadOnlyList<string> rooms, CancellationToken cancellationToken) =>
        OpenAgainAsync(cancellationToken);

    public override Task UnsubscribeAsync(IReadOnlyList<string> rooms, CancellationToken cancellationToken) =>
        OpenAgainAsync(cancellationToken);

    public override Task EnterAsync(string service, string user, CancellationToken cancellationToken) =>
        OpenAgainAsync(cancellationToken);

    public override Task ExitAsync(string service, CancellationToken cancellationToken) =>
        OpenAgainAsync(cancellationToken);

    protected override async Task<Ending> ReadAsync(ITimer opening)
    {
        try
        {
            if (Options.Backend is { } backend)
            {
                await RegisterAsync(backend).ConfigureAwait(false);
            }

            using var response = await Http.OpenAsync(HttpMethod.Get, Path(), null, State.Positions.Cursor(), Ended)
                .ConfigureAwait(false);
            opening.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            Watchdog.Start(Ping, Silent);
            State.BeConnected(this);
            Uplink?.Signal();
            await using var stream = await response.Content.ReadAsStreamAsync(Ended).ConfigureAwait(false);
            var events = SseParser.Create(stream, static (_, data) => data.ToArray());
            await foreach (var item in events.EnumerateAsync(Ended).ConfigureAwait(false))
            {
                Take(item);
            }

            return Lost("The stream ended.");
        }
        catch (HttpRefusal refused)
        {
            return refused.IsFinal
                ? Refused(refused.Error, refused.After)
                : new Ending(refused.Message, After: refused.After);
        }
        catch (Exception e)
            when (e is HttpRequestException or IOException or JsonException && !Ended.IsCancellationRequested)
        {
            return Lost(e.Message);
        }
    }

    // What is missing shows in the heartbeats alone.
    protected override void Ask() { }

    private void Take(SseItem<byte[]> item)
    {
        Watchdog.Heard();
        try
        {
            _retry = (long?)item.ReconnectionInterval?.TotalMilliseconds ?? _retry;
            if (!State.Positions.TakeCursor(item.EventId, out var id, out var room, out var position))
            {
                return;
            }

            switch (item.EventType)
            {
                case "ping":
                    break;
                case "dmb:uplink":
                    Uplink?.Signal();
                    break;
                case "gap":
                case "bye" or "drain" or "backplane" or "dmb:connected" or "dmb:disconnected" when room is null:
                    Receive(item.EventType, Json.Element(item.Data));
                    break;
                default:
                    // The data is handed on as it is, once it is known to be JSON.
                    Json.Check(item.Data);
                    State.Tell(new DmbMessage(item.EventType, item.Data, id, room, position));
                    break;
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            TellUnreadable(e);
        }
    }

    private Ending Lost(string why)
    {
        var ending = WithBye(why);
        return ending.Final is null && _retry is { } retry
            ? ending with
            {
                After = TimeSpan.FromMilliseconds(Math.Clamp(retry, 0, (long)AfterMax.TotalMilliseconds)),
            }
            : ending;
    }

    private async Task RegisterAsync(DmbBackend backend)
    {
        var answer = await Http.AskAsync(
                HttpMethod.Post,
                "register/backend",
                writer => Json.WriteBackend(writer, backend.Name, State.Bkid),
                Ended
            )
            .ConfigureAwait(false);
        State.Bkid = answer.Text("bkid");
    }

    /// <summary>The address of the stream of what the client wants.</summary>
    private string Path()
    {
        var (rooms, services) = State.Wanted();
        var query = string.Concat(
            rooms.Prepend("public").Distinct().Select(room => $"&room={Uri.EscapeDataString(room)}")
        );
        if (services is [.., var (service, user)])
        {
            query += $"&service={Uri.EscapeDataString(service)}&user={Uri.EscapeDataString(user)}";
        }

        return (Options.Backend is null ? "events" : $"backend/{State.Bkid}/uplink") + "?heartbeat=1" + query;
    }

    private async Task OpenAgainAsync(CancellationToken cancellationToken)
    {
        var next = State.Behind(this);
        End(new Ending("Other rooms.", AtOnce: true));
        await next.WaitAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>The message of a backend as HTTP has it, from how a socket has it.</summary>
    private static Action<Utf8JsonWriter> BackendMessage(Action<Utf8JsonWriter> data)
    {
        var message = Json.Element(Json.Utf8(data));
        return writer =>
        {
            writer.WriteStartObject();
            writer.WriteString("type"u8, "bk_message"u8);
            if (message.Text("id") is { } id)
            {
                writer.WriteString("id"u8, id);
            }

            if (message.Text("user") is { } user)
            {
                writer.WriteString("to"u8, user);
            }

            writer.WritePropertyName("data"u8);
            (message.Member("data") ?? Json.Null).WriteTo(writer);
            writer.WriteEndObject();
        };
    }
}
