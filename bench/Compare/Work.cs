using Dmb.Bench.Peers;

namespace Dmb.Bench.Compare;

/// <summary>Those who listen while something is measured, and on what kind of process.</summary>
internal readonly record struct Crowd(int Subscribers, bool RoomsOfOne = false, bool Fresh = false);

/// <summary>What a work's figures are about.</summary>
internal enum Unit
{
    Publish,
    Delivery,
    Handshake,
    IdleConnection,
    Start,
}

/// <summary>One thing that is asked of every server in the same way.</summary>
internal sealed record Work(string Name, string Title, Unit Unit, Crowd Crowd, int InFlight = 1, int Rate = 0)
{
    private const int Idle = 10_000;

    private static readonly Crowd Rooms = new(1_000, RoomsOfOne: true);

    /// <summary>Those with the same crowd side by side: they share its subscribers.</summary>
    public static IReadOnlyList<Work> All { get; } =
    [
        new("start", "exec to first answered publish", Unit.Start, new Crowd(Idle, Fresh: true)),
        new("idle", $"{Idle:N0} idle connections", Unit.IdleConnection, new Crowd(Idle, Fresh: true)),
        new("nobody", "nobody listening, 32 in flight", Unit.Publish, new Crowd(0), 32),
        new("rooms", "1,000 rooms of one, 32 in flight", Unit.Publish, Rooms, 32),
        new("rate500", "500 publishes/s to rooms of one", Unit.Publish, Rooms, 8, 500),
        .. new[] { 1, 10, 100, 1_000, 5_000 }.SelectMany(FanOut),
        new("rate20", "20 publishes/s to 1,000 subscribers", Unit.Delivery, new Crowd(1_000), 8, 20),
        new("storm", "5,000 handshakes", Unit.Handshake, new Crowd(5_000)),
    ];

    /// <summary>Whether a quick comparison does it too.</summary>
    public bool Quick =>
        Name is "start" or "idle" or "nobody" or "rooms" or "rate500" or "fanout1000" or "fanout1000x8";

    /// <summary>
    /// Whether it is asked of a server: what its row lists, else not what Redis has little part in.
    /// </summary>
    public bool IsFor(Server server)
    {
        return server.Bare ? Unit == Unit.Start
            : server.Works is { } works ? works.Contains(Name)
            : !server.Redis || Crowd.RoomsOfOne || Crowd.Subscribers is 0 or >= 1_000;
    }

    private static Work[] FanOut(int subscribers)
    {
        var crowd = new Crowd(subscribers);
        var title = subscribers == 1 ? "1 subscriber" : $"{subscribers:N0} subscribers";
        return
        [
            new($"fanout{subscribers}", $"{title}, one in flight", Unit.Delivery, crowd),
            new($"fanout{subscribers}x8", $"{title}, 8 in flight", Unit.Delivery, crowd, 8),
        ];
    }
}
