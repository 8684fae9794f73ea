using System.Text;
using Dmb.Sockets;

namespace Dmb.Tests.SocketIo;

/// <summary>Payloads of Engine.IO 3 and 4, by the examples of the protocols and by what hostile clients send.</summary>
public sealed class PayloadTests
{
    [Theory]
    [InlineData(4, "4hello\x1e" + "2\x1e" + "4world", "4hello|2|4world")]
    [InlineData(4, "4€\x1e" + "bAQIDBA==", "4€|binary")]
    [InlineData(4, "40", "40")]
    [InlineData(3, "6:4hello2:4€", "4hello|4€")]
    [InlineData(3, "2:4€10:b4AQIDBA==", "4€|binary")]
    [InlineData(3, "1:2", "2")]
    [InlineData(3, "4:4\U0001F4DE!", "4\U0001F4DE!")]
    [InlineData(3, "3:4Ã«", "4ë")]
    [InlineData(3, "2:4ë", "4ë")]
    public void A_payload_is_read(int version, string body, string packets) =>
        Assert.Equal((packets, false), Read(version, Encoding.UTF8.GetBytes(body)));

    [Theory]
    [InlineData(4, "")]
    [InlineData(4, "4a\x1e")]
    [InlineData(4, "\x1e" + "4a")]
    [InlineData(3, "")]
    [InlineData(3, "abc")]
    [InlineData(3, ":4")]
    [InlineData(3, "0:")]
    [InlineData(3, "3:4a")]
    [InlineData(3, "2:4a1")]
    [InlineData(3, "-1:4a")]
    [InlineData(3, "2147483647:4a")]
    [InlineData(3, "99999999999999999999:4a")]
    [InlineData(3, "2:4\U0001F4DE")]
    public void A_malformed_payload_is_noticed(int version, string body) =>
        Assert.True(Read(version, Encoding.UTF8.GetBytes(body)).IsMalformed);

    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    public void Bytes_that_are_not_UTF8_are_malformed(int version) =>
        Assert.True(Read(version, [.. "2:4"u8, 0xFF]).IsMalformed);

    [Fact]
    public void A_binary_payload_of_protocol_3_is_read()
    {
        Assert.Equal(
            ("4a|binary", false),
            Read(3, [0, 2, 0xFF, .. "4a"u8, 1, 1, 0, 0xFF, 4, 1, 2, 3, 4, 5, 6, 7, 8, 9], isBinary: true)
        );
    }

    [Theory]
    [InlineData(new byte[] { 0 })]
    [InlineData(new byte[] { 0, 2 })]
    [InlineData(new byte[] { 0, 0xFF })]
    [InlineData(new byte[] { 2, 1, 0xFF, 52 })]
    [InlineData(new byte[] { 0, 3, 0xFF, 52 })]
    [InlineData(new byte[] { 0, 10, 0xFF, 52 })]
    [InlineData(new byte[] { 0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 0xFF, 52 })]
    public void A_binary_payload_that_lies_about_its_length_is_malformed(byte[] body) =>
        Assert.True(Read(3, body, isBinary: true).IsMalformed);

    [Fact]
    public void A_response_has_at_most_16_packets_and_leaves_the_rest()
    {
        var frame = WebSocketFrames.Text("4a"u8);
        byte[] frames = [.. Enumerable.Repeat(frame, 20).SelectMany(bytes => bytes)];

        var payload = EngineIoPayload.Encode(EngineIoVersion.V4, frames, out var taken);

        Assert.Equal(string.Join('\x1e', Enumerable.Repeat("4a", 16)), Encoding.UTF8.GetString(payload));
        Assert.Equal(16 * frame.Length, taken);
    }

    [Fact]
    public void A_packet_larger_than_a_response_is_sent_alone()
    {
        byte[] large = [(byte)'4', .. new byte[70_000]];
        byte[] frames = [.. WebSocketFrames.Text(large), .. WebSocketFrames.Text("4a"u8)];

        Assert.Equal(large, EngineIoPayload.Encode(EngineIoVersion.V4, frames, out var taken));
        Assert.Equal(frames.Length - 4, taken);
    }

    [Fact]
    public void Control_frames_are_left_out_of_a_response()
    {
        byte[] frames =
        [
            .. WebSocketFrames.Ping,
            .. WebSocketFrames.Text("4a"u8),
            .. WebSocketFrames.Close(1012, "drain"),
        ];

        Assert.Equal("4a"u8.ToArray(), EngineIoPayload.Encode(EngineIoVersion.V4, frames, out var taken));
        Assert.Equal(frames.Length, taken);
    }

    [Fact]
    public void Protocol_3_gets_ASCII_whose_length_is_equal_in_bytes_and_characters()
    {
        var frames = WebSocketFrames.Text(Encoding.UTF8.GetBytes("42[\"a\",\"ë\U0001F4DE\"]"));

        var payload = Encoding.UTF8.GetString(EngineIoPayload.Encode(EngineIoVersion.V3, frames, out _));

        Assert.Equal("""28:42["a","\u00eb\ud83d\udcde"]""", payload);
    }

    private static (string Packets, bool IsMalformed) Read(int version, byte[] body, bool isBinary = false)
    {
        var reader = new EngineIoPayloadReader((EngineIoVersion)version, body, isBinary);
        var packets = new List<string>();
        while (reader.TryRead(out var packet))
        {
            packets.Add(packet.IsBinary ? "binary" : Encoding.UTF8.GetString(packet.Text.Span));
        }

        return (string.Join('|', packets), reader.IsMalformed);
    }
}
