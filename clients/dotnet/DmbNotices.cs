using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace Dmb.Client;

/// <summary>What a client tells: messages, and what happens to them and to the connection.</summary>
public abstract record DmbNotice;

/// <summary>A message of a room, or of a backend service.</summary>
/// <param name="Event">Its name, such as <c>call</c>.</param>
/// <param name="Utf8Data">Its data, JSON as it was sent.</param>
/// <param name="Id">Unique over the cluster.</param>
/// <param name="Room">A room that it came by, where that keeps a history.</param>
/// <param name="Position">Its position there.</param>
public sealed record DmbMessage(
    string Event,
    ReadOnlyMemory<byte> Utf8Data,
    string? Id = null,
    string? Room = null,
    string? Position = null
) : DmbNotice
{
    /// <summary>Its data.</summary>
    public JsonElement Data => Json.Element(Utf8Data);

    /// <summary>Its data as an object of a type.</summary>
    /// <exception cref="JsonException">The data is not of that type.</exception>
    public T? Read<T>(JsonTypeInfo<T> type) => JsonSerializer.Deserialize(Utf8Data.Span, type);
}

/// <summary>Messages that will not come.</summary>
/// <param name="Room">Of this room; null: of any, since their reader was too slow.</param>
/// <param name="Lost">How many; null: unknown.</param>
/// <param name="Why">
/// <c>trimmed</c>, <c>expired</c>, <c>epoch</c>, <c>future</c> (docs/protocol.md §7), <c>slow_reader</c>.
/// </param>
public sealed record DmbGap(string? Room, long? Lost, string? Why) : DmbNotice;

/// <summary>A room is complete again.</summary>
/// <param name="Room">Its name.</param>
/// <param name="Missed">How many messages were missed; null: the room's count began anew.</param>
/// <param name="Got">How many of them came late.</param>
/// <param name="Lost">How many will not come; null: unknown.</param>
/// <param name="Why">As in <see cref="DmbGap"/>.</param>
public sealed record DmbResumed(string Room, long? Missed, long Got, long? Lost, string? Why) : DmbNotice;

/// <summary>What a client does.</summary>
public enum DmbConnectionState
{
    /// <summary>It opens a connection, or joins its rooms on one.</summary>
    Connecting,

    /// <summary>It is connected and in its rooms.</summary>
    Connected,

    /// <summary>It waits before it tries again.</summary>
    Waiting,

    /// <summary>It has ended for good.</summary>
    Closed,
}

/// <summary>A way to a node.</summary>
public enum DmbTransport
{
    /// <summary>A WebSocket.</summary>
    WebSocket,

    /// <summary>Server-sent events, and HTTP to publish.</summary>
    ServerSentEvents,
}

/// <summary>What the client does from now on.</summary>
/// <param name="State">What it does.</param>
/// <param name="Why">Why the connection was lost or closed; else empty.</param>
/// <param name="RetryIn">How long it waits.</param>
/// <param name="Transport">The way that it takes, or took.</param>
public sealed record DmbState(
    DmbConnectionState State,
    string Why = "",
    TimeSpan? RetryIn = null,
    DmbTransport Transport = DmbTransport.WebSocket
) : DmbNotice;

/// <summary>For a backend service: what a user says, or that one came or went. Each once, in order.</summary>
/// <param name="Id">Its place in the store: <see cref="DmbBackend.After"/> of a later client.</param>
/// <param name="Type"><c>message</c>, <c>connect</c> or <c>disconnect</c>.</param>
/// <param name="User">Who.</param>
/// <param name="Session">In which session.</param>
/// <param name="Data">What was said.</param>
/// <param name="Sessions">How many sessions the user has left, of <c>connect</c> and <c>disconnect</c>.</param>
public sealed record DmbUplink(string Id, string Type, string User, string Session, JsonElement Data, int? Sessions)
    : DmbNotice;

/// <summary>
/// What the broker itself says, such as <c>welcome</c>, <c>joined</c>, <c>drain</c> and <c>backplane</c>.
/// </summary>
/// <param name="Event">Its name.</param>
/// <param name="Data">Its data.</param>
public sealed record DmbBrokerEvent(string Event, JsonElement Data) : DmbNotice;

/// <summary>
/// What failed without a call of the program: a refused room, a token that could not be renewed, an unreadable frame.
/// </summary>
/// <param name="Error">What is wrong.</param>
public sealed record DmbFailure(DmbException Error) : DmbNotice;
