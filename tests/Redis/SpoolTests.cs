using Dmb.Redis;

namespace Dmb.Tests.Redis;

/// <summary>What is kept while Redis is away, and in which order.</summary>
public sealed class SpoolTests
{
    [Fact]
    public void Messages_whose_calls_failed_in_any_order_are_kept_in_the_order_in_which_they_were_sent()
    {
        var space = new SpoolSpace(maxMessages: 3, maxBytes: 100);
        var spool = new Spool(space, TimeSpan.FromMinutes(1), new ManualTime());
        var messages = Enumerable
            .Range(1, 4)
            .Select(sent => new PendingPublish($"{sent}", ["a:1"], "{}"u8.ToArray()) { Since = sent })
            .ToArray();
        Assert.True(spool.TryInsert(messages[2]));
        Assert.True(spool.TryInsert(messages[0]));
        Assert.True(spool.TryInsert(messages[1]));
        Assert.False(spool.TryInsert(messages[3]));
        Assert.Equal(["1", "2", "3"], spool.ToArray().Select(message => message.Id));

        spool.Remove(messages[1]);
        spool.Remove(messages[1]);
        Assert.True(spool.TryInsert(messages[3]));
        Assert.Equal(["1", "3", "4"], spool.ToArray().Select(message => message.Id));
    }
}
