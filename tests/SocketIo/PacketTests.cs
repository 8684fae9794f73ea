using System.Text;
using System.Text.Json;
using Dmb.Routing;
using Dmb.Sockets;

namespace Dmb.Tests.SocketIo;

/// <summary>Packets of Socket.IO 4 and 5, by the examples of the protocol and by what hostile clients send.</summary>
public sealed class PacketTests
{
    private static readonly JsonReaderOptions Depth64 = new() { MaxDepth = 64 };

    [Theory]
    [InlineData("0", "Connect 0   ")]
    [InlineData("""0{"token":"123"}""", """Connect 0   {"token":"123"}""")]
    [InlineData("0/admin,", "Connect 0 /admin  ")]
    [InlineData("0/admin?a=b,{}", "Connect 0 /admin  {}")]
    [InlineData("0/", "Connect 0   ")]
    [InlineData("1/admin,", "Disconnect 0 /admin  ")]
    [InlineData("""2["foo"]""", """Event 0   ["foo"]""")]
    [InlineData("""2/admin,12["foo"]""", """Event 0 /admin 12 ["foo"]""")]
    [InlineData("3/admin,13[]", "Ack 0 /admin 13 []")]
    [InlineData(
        """51-["a",{"_placeholder":true,"num":0}]""",
        """BinaryEvent 1   ["a",{"_placeholder":true,"num":0}]"""
    )]
    [InlineData("61-/admin,1[]", "BinaryAck 1 /admin 1 []")]
    public void A_packet_is_read(string text, string read)
    {
        Assert.True(SocketIoPacket.TryRead(Encoding.UTF8.GetBytes(text), out var packet));
        Assert.Equal(
            read,
            $"{packet.Type} {packet.Attachments} {Text(packet.Namespace)} {Text(packet.Id)} {Text(packet.Json)}"
        );
    }

    [Theory]
    [InlineData("")]
    [InlineData("7")]
    [InlineData("a")]
    [InlineData("5[]")]
    [InlineData("5-[]")]
    [InlineData("511-[]")]
    [InlineData("5999999999999-[]")]
    [InlineData("2123456789012345678901234567890[]")]
    public void An_invalid_packet_is_not_parsed(string text) =>
        Assert.False(SocketIoPacket.TryRead(Encoding.UTF8.GetBytes(text), out _));

    [Theory]
    [InlineData("""2["call",{"a":1},2]""", "call", """{"a":1}""")]
    [InlineData("""2["call"]""", "call", "null")]
    [InlineData("""2[ "call" , "x" ]""", "call", "\"x\"")]
    public void An_event_is_its_name_and_its_first_argument(string text, string name, string data)
    {
        Assert.True(SocketIoPacket.TryRead(Encoding.UTF8.GetBytes(text), out var packet));
        Assert.True(packet.TryReadEvent(Depth64, out var frame));
        Assert.Equal((name, data), (frame.Event, Text(frame.Data)));
    }

    [Theory]
    [InlineData("2")]
    [InlineData("2[]")]
    [InlineData("2{}")]
    [InlineData("2[1]")]
    [InlineData("""2["a","b""")]
    [InlineData("""2["a"]]""")]
    [InlineData("""2["\ud83d"]""")]
    [InlineData("""2["connect"]""")]
    [InlineData("""2["disconnecting",1]""")]
    public void An_invalid_event_is_not_parsed(string text)
    {
        Assert.True(SocketIoPacket.TryRead(Encoding.UTF8.GetBytes(text), out var packet));
        Assert.False(packet.TryReadEvent(Depth64, out _));
    }

    [Fact]
    public void Twenty_thousand_levels_are_too_big()
    {
        var text = "2[\"a\"," + new string('[', 20_000) + new string(']', 20_000) + "]";
        Assert.True(SocketIoPacket.TryRead(Encoding.UTF8.GetBytes(text), out var packet));

        var refused = Assert.Throws<RefusedException>(() => packet.TryReadEvent(Depth64, out _));
        Assert.Equal(ErrorCode.TooBig, refused.Code);
    }

    private static string Text(ReadOnlyMemory<byte> bytes) => Encoding.UTF8.GetString(bytes.Span);
}
