using Dmb.Routing;

namespace Dmb.Tests.Routing;

/// <summary>What a subscriber receives of rooms that it could not join.</summary>
public sealed class RoomJoinsTests
{
    [Fact]
    public async Task A_refused_join_delivers_what_came_meanwhile_to_other_rooms_and_nothing_of_its_own()
    {
        await using var broker = new Broker();
        var joins = new RoomJoins(
            broker.Rooms,
            new Refusing(broker.FanOut),
            new HistoryPolicy(new HistoryOptions { HistorySize = 100 })
        );
        var member = new Member();
        broker.Rooms.Join(member, "support", out _);
        broker.Rooms.Join(member, "number:*", out _);

        await Assert.ThrowsAsync<RefusedException>(async () =>
            await joins.JoinAsync(member, [new RoomRequest("calls", new StreamPosition("e1", 1))])
        );

        Assert.Equal(["support", "number:1"], member.Ids);
    }

    /// <summary>Delivers messages on this node while histories are asked for, and refuses.</summary>
    private sealed class Refusing(FanOut fanOut) : Away
    {
        public override async ValueTask<IReadOnlyList<RoomHistory>> ReadHistoryAsync(IReadOnlyList<RoomRequest> rooms)
        {
            foreach (var room in (string[])["calls", "support", "number:1"])
            {
                await fanOut.DeliverAsync(new Envelope("call", room, [room], "1"u8.ToArray()));
            }

            throw new RefusedException(ErrorCode.BackplaneDown, "Redis is away.");
        }
    }

    private sealed class Member : Subscriber
    {
        public List<string> Ids { get; } = [];

        public override bool Queue(Envelope envelope, int room)
        {
            Ids.Add(envelope.Id);
            return false;
        }

        public override bool Queue(string @event, ReadOnlySpan<byte> data) => false;

        public override void Flush() { }
    }
}
