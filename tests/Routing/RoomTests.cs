using Dmb.Routing;

namespace Dmb.Tests.Routing;

/// <summary>Which members of a room a message reaches live, while some of them join.</summary>
public sealed class RoomTests
{
    private static readonly StreamPosition First = new("e1", 1);

    private readonly Room _room = new("calls");

    [Fact]
    public void A_message_copied_while_a_member_s_start_is_unknown_is_left_to_its_replay()
    {
        var member = Join();
        Assert.Empty(Copy(First));

        var start = _room.Start(member, default, default);

        Assert.Equal(First, start);
        Assert.False(_room.Reaches(member, First));
        var next = First with { Seq = 2 };
        Assert.True(_room.Reaches(member, next));
        Assert.Same(member.Subscriber, Assert.Single(Copy(next)));
    }

    [Fact]
    public void A_message_without_a_position_reaches_a_member_whose_start_is_unknown()
    {
        var member = Join();
        Assert.Same(member.Subscriber, Assert.Single(Copy(default)));
    }

    [Fact]
    public void A_copy_reaches_only_members_that_joined_at_a_position_after_its_delivery()
    {
        _room.Start(Join(isPlaced: true), First, default);
        var made = Membership.Made;
        _room.Start(Join(), default, default);
        var later = Join(isPlaced: true);
        _room.Start(later, default, default);

        Subscriber[] target = [];
        Assert.Equal(1, _room.CopyTo(ref target, First with { Seq = 2 }, made));
        Assert.Same(later.Subscriber, target[0]);
    }

    private Membership Join(bool isPlaced = false)
    {
        Assert.True(_room.TryJoin(new Silent(), out var member, isPlaced));
        return member;
    }

    private Subscriber[] Copy(StreamPosition position)
    {
        Subscriber[] target = [];
        var count = _room.CopyTo(ref target, position);
        return target[..count];
    }

    private sealed class Silent : Subscriber
    {
        public override bool Queue(Envelope envelope, int room) => false;

        public override bool Queue(string @event, ReadOnlySpan<byte> data) => false;

        public override ValueTask ReadyAsync() => ValueTask.CompletedTask;

        public override void Flush() { }
    }
}
