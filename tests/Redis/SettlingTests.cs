using Dmb.Redis;

namespace Dmb.Tests.Redis;

/// <summary>What is kept of acknowledged messages while Redis may lose them.</summary>
public sealed class SettlingTests
{
    private readonly ManualTime _time = new();

    [Fact]
    public void Messages_are_read_as_they_were_added_from_chunks_that_are_used_again()
    {
        var settling = Create(maxMessages: 300);
        var messages = Enumerable.Range(0, 2_000).Select(number => Message(number, bytes: number % 400)).ToList();
        messages.Add(Message(2_000, bytes: 50_000));
        messages.Add(Message(2_001, bytes: 0, new UserMessage("b1", "2001", 0, 10)));
        messages.Add(Message(2_002, bytes: 400));
        messages.ForEach(settling.Push);

        var read = settling.ToArray();
        Assert.Equal(messages[^300..].Select(Text), read.Select(Text));
        Assert.Same(messages[^2], read[^2]);
    }

    [Fact]
    public void What_is_changed_of_a_message_that_was_read_is_kept_in_its_place()
    {
        var settling = Create();
        settling.Push(Message(1));
        settling.Push(Message(2));
        settling.ToArray()[0].Positions = "b:1";
        settling.Push(Message(3));
        settling.ToArray()[2].Positions = "b:3";

        Assert.Equal(["b:1", "a:2,", "b:3"], settling.ToArray().Select(message => message.Positions));
        Assert.Equal(["1", "2", "3"], settling.ToArray().Select(message => message.Id));
    }

    [Fact]
    public void Messages_expire_by_the_age_that_they_have_when_they_were_changed_too()
    {
        var settling = Create();
        settling.Push(Message(1));
        _time.Advance(TimeSpan.FromSeconds(4));
        settling.Push(Message(2));
        _time.Advance(TimeSpan.FromSeconds(2));
        settling.Expire();
        Assert.Equal(["2"], settling.ToArray().Select(message => message.Id));

        settling.ToArray()[0].Since = _time.GetTimestamp();
        settling.Push(Message(3));
        _time.Advance(TimeSpan.FromSeconds(5));
        settling.Expire();
        Assert.Equal(["2", "3"], settling.ToArray().Select(message => message.Id));
        _time.Advance(TimeSpan.FromSeconds(1));
        settling.Expire();
        Assert.Empty(settling.ToArray());
    }

    [Fact]
    public void Older_messages_make_room_for_one_and_one_that_never_fits_is_not_kept()
    {
        var settling = Create(maxBytes: 1_000);
        settling.Push(Message(1, bytes: 100));
        settling.Push(Message(2, bytes: 400));
        settling.Push(Message(3, bytes: 500));
        settling.Push(Message(4, bytes: 500));
        Assert.Equal(["3", "4"], settling.ToArray().Select(message => message.Id));

        settling.Push(Message(5, bytes: 1_001));
        Assert.Empty(settling.ToArray());
    }

    private Settling Create(int maxMessages = 100, long maxBytes = 1_000_000) =>
        new(new SpoolSpace(maxMessages, maxBytes), TimeSpan.FromSeconds(5), _time);

    private PendingPublish Message(int number, int bytes = 10, UserMessage? userMessage = null) =>
        new($"{number}", [$"room:{number}", "endpoint:zoë"], [.. Enumerable.Repeat((byte)number, bytes)], userMessage)
        {
            Since = _time.GetTimestamp(),
            Positions = $"a:{number},",
        };

    private static string Text(PendingPublish message) =>
        $"{message.Id} {string.Join('|', message.Rooms)} {message.Positions} {message.Since} "
        + Convert.ToHexString(message.Body);
}
