namespace Dmb.Bench.Load;

/// <summary>What a server speaks: how to subscribe and publish, and what a delivered message looks like.</summary>
internal sealed record Dialect
{
    /// <summary>
    /// Digits of a message's number, which is the first member of its data: <c>{"n":"0000000001",…}</c>.
    /// </summary>
    public const int NumberLength = 10;

    /// <summary>What is published: an event of DMB's default table, whose bus is <c>support</c>.</summary>
    public const string Event = "report_csr";

    /// <summary>One thing said on the way into a room, and how the frame begins that answers it.</summary>
    public readonly record struct Step(string Say, string Awaited);

    /// <summary>The path that a subscriber of a room opens.</summary>
    public required Func<string, string> Subscribe { get; init; }

    /// <summary>The path that a publish to a room goes to.</summary>
    public Func<string, string> Publish { get; init; } = room => $"/pub/{room}";

    /// <summary>All that stands in a delivered frame before the message's number.</summary>
    public string MessageStart { get; init; } = "{\"n\":\"";

    /// <summary>What a subscriber says once it is connected.</summary>
    public Func<string, Step[]> Join { get; init; } = _ => [];

    /// <summary>Subscribers as they are, publishes as DMB takes them.</summary>
    public Dialect ToDmb() => this with { Publish = Dmb.Publish, Accepted = Dmb.Accepted };

    /// <summary>Server-sent events instead of WebSocket frames.</summary>
    public bool EventStream { get; init; }

    /// <summary>
    /// HTTP long-polling of Engine.IO instead of WebSocket frames: one request after the other on one connection.
    /// </summary>
    public bool Polling { get; init; }

    /// <summary>What divides a frame into messages, where one may hold several.</summary>
    public byte? Separator { get; init; }

    /// <summary>A text frame that wants to be answered by another, if there is one.</summary>
    public byte[] Ping { get; init; } = [];
    public byte[] Pong { get; init; } = [];

    /// <summary>What the answer to a publish has to say besides 2xx.</summary>
    public string Accepted { get; init; } = "";

    /// <summary>DMB's own: one path for everybody, rooms joined by frames, the address in the data.</summary>
    public static Dialect Dmb { get; } =
        new()
        {
            Subscribe = _ => "/ws",
            Publish = _ => $"/_notify/{Event}",
            MessageStart = $"{{\"event\":\"{Event}\",\"data\":{{\"n\":\"",
            Join = room =>
                [new($"{{\"event\":\"subscribe\",\"data\":\"{room}\",\"ack\":1}}", "{\"ack\":1,\"ok\":true")],
            Accepted = "\"ok\":true",
        };

    /// <summary>DMB's server-sent events.</summary>
    public static Dialect DmbEvents { get; } =
        Dmb with
        {
            Subscribe = room => $"/events?room={room}",
            MessageStart = "data: {\"n\":\"",
            Join = _ => [],
            EventStream = true,
        };

    /// <summary>A path for each room; the data is the frame.</summary>
    public static Dialect Plain { get; } = new() { Subscribe = room => $"/sub/{room}" };

    /// <summary>The same as server-sent events.</summary>
    public static Dialect PlainEvents { get; } = Plain with { MessageStart = "data: {\"n\":\"", EventStream = true };

    /// <summary>Socket.IO 4 on a WebSocket from the start; a <c>subscribe</c> event with an ack joins.</summary>
    public static Dialect SocketIo { get; } =
        new()
        {
            Subscribe = _ => "/socket.io/?EIO=4&transport=websocket",
            MessageStart = $"42[\"{Event}\",{{\"n\":\"",
            Join = room => [new("", "0{"), new("40", "40"), new($"420[\"subscribe\",\"{room}\"]", "430")],
            Ping = [.. "2"u8],
            Pong = [.. "3"u8],
        };

    /// <summary>The same by long-polling, without an upgrade.</summary>
    public static Dialect SocketIoPolling { get; } =
        SocketIo with
        {
            Subscribe = _ => "/socket.io/?EIO=4&transport=polling",
            Polling = true,
            Separator = 0x1e,
        };

    /// <summary>SignalR's JSON protocol without negotiation; the hub's method <c>Join</c> joins.</summary>
    public static Dialect SignalR { get; } =
        new()
        {
            Subscribe = _ => "/hub",
            MessageStart = $"{{\"type\":1,\"target\":\"{Event}\",\"arguments\":[{{\"n\":\"",
            Join = room =>
                [
                    new("{\"protocol\":\"json\",\"version\":1}\u001e", "{}"),
                    new(
                        $"{{\"type\":1,\"invocationId\":\"1\",\"target\":\"Join\",\"arguments\":[\"{room}\"]}}\u001e",
                        "{\"type\":3"
                    ),
                ],
            Separator = 0x1e,
        };
}
