using Dmb.Routing;

namespace Dmb.Tests.Routing;

public sealed class NamesTests
{
    [Theory]
    [InlineData("call")]
    [InlineData("statistics:add")]
    [InlineData("_x")]
    [InlineData("0")]
    [InlineData("a.b:c-d")]
    public void An_event_is_letters_digits_and_a_little_more(string name) => Assert.True(Names.IsEvent(name));

    [Theory]
    [InlineData("")]
    [InlineData(":call")]
    [InlineData("-call")]
    [InlineData("a b")]
    [InlineData("a/b")]
    [InlineData("é")]
    [InlineData("a\n")]
    public void Other_names_are_not_events(string name) => Assert.False(Names.IsEvent(name));

    [Fact]
    public void An_event_has_at_most_128_characters()
    {
        Assert.True(Names.IsEvent(new string('a', 128)));
        Assert.False(Names.IsEvent(new string('a', 129)));
    }

    [Theory]
    [InlineData("endpoint:*")]
    [InlineData("domain:example.com:*")]
    public void A_pattern_is_a_star_behind_a_colon_and_no_room(string name)
    {
        Assert.True(Names.IsPattern(name));
        Assert.False(Names.IsRoom(name));
    }

    [Theory]
    [InlineData("*")]
    [InlineData(":*")]
    [InlineData("endpoint*")]
    [InlineData("endpoint:1*")]
    [InlineData("endpoint:*:*")]
    [InlineData("endpoint:*:1")]
    [InlineData("end point:*")]
    [InlineData("endpoint:1 2:*")]
    [InlineData("support")]
    [InlineData("endpoint:1")]
    public void Other_names_are_no_patterns(string name) => Assert.False(Names.IsPattern(name));

    [Fact]
    public void A_room_has_at_most_200_bytes_of_utf8()
    {
        Assert.True(Names.IsRoom(new string('a', 200)));
        Assert.False(Names.IsRoom(new string('a', 201)));
        Assert.True(Names.IsRoom(new string('é', 100)));
        Assert.False(Names.IsRoom(new string('é', 101)));
    }

    [Theory]
    [InlineData("")]
    [InlineData("a b")]
    [InlineData("a\tb")]
    [InlineData("a\0")]
    [InlineData("a\u00a0b")]
    [InlineData("a\u0085b")]
    public void A_room_has_no_spaces_or_control_characters(string name) => Assert.False(Names.IsRoom(name));

    [Theory]
    [InlineData("endpoint:1234", true)]
    [InlineData("domain:example.com", true)]
    [InlineData("x_9:", true)]
    [InlineData("number:+1(500)", true)]
    [InlineData("support", false)]
    [InlineData(":1234", false)]
    [InlineData("end point:1", false)]
    [InlineData("é:1", false)]
    [InlineData("a-b:1", false)]
    [InlineData("endpoint:1 2", false)]
    public void A_notification_room_is_a_word_and_a_colon_and_a_room(string name, bool isOne) =>
        Assert.Equal(isOne, Names.IsNotificationRoom(name));

    [Theory]
    [InlineData("m1", true)]
    [InlineData("é\"\\", true)]
    [InlineData("", false)]
    [InlineData("a\nb", false)]
    public void An_id_is_1_to_64_characters_without_control_characters(string id, bool isOne)
    {
        Assert.Equal(isOne, Names.IsId(id));
        Assert.True(Names.IsId(new string('a', 64)));
        Assert.False(Names.IsId(new string('a', 65)));
    }
}
