using System.Text;
using Dmb.Connections;
using FsCheck;
using FsCheck.Fluent;

namespace Dmb.Tests.Connections;

/// <summary>What is answered before the server does is a request that nobody can take for another one.</summary>
public sealed class PlainRequestTests
{
    private const int BodyMax = 100;

    private const string Push = "POST /_notify/call HTTP/1.1\r\nHost: a.example:5000\r\nUser-Agent: x/1\r\nContent-Type: application/json\r\nContent-Length: 7\r\nIdempotency-Key: k\r\n\r\n{\"a\":1}";

    private const string Handshake =
        "GET /ws HTTP/1.1\r\nhost:127.0.0.1\r\nCONNECTION: keep-alive, Upgrade\r\nupgrade: websocket \r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version:\t13\r\nOrigin: http://a.example\r\n\r\n";

    [Theory]
    [InlineData(Push)]
    [InlineData(Handshake)]
    [InlineData("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")]
    [InlineData("GET / HTTP/1.1\r\nHost: a\r\n\r\n")]
    public void Each_beginning_of_a_request_is_a_part_and_what_comes_behind_it_is_not_its_own(string request)
    {
        for (var length = 1; length < request.Length; length++)
        {
            Assert.Equal(Reading.Part, Read(request[..length]));
        }

        foreach (var more in new[] { "", "\r\n", "POST", request })
        {
            Assert.Equal(Reading.Whole, PlainRequest.Read(Encoding.Latin1.GetBytes(request + more), BodyMax, out var read));
            Assert.Equal(request.Length, read.Length);
        }
    }

    [Fact]
    public void All_that_it_says_is_read()
    {
        PlainRequest.Read(Encoding.ASCII.GetBytes(Push), BodyMax, out var push);
        Assert.True(push.IsPost);
        Assert.Equal("/_notify/call", Encoding.ASCII.GetString(push.Target));
        Assert.Equal("k", Encoding.ASCII.GetString(push.IdempotencyKey));
        Assert.Equal("{\"a\":1}", Push[push.Body]);
        Assert.False(push.IsLast);

        PlainRequest.Read(Encoding.ASCII.GetBytes(Handshake), BodyMax, out var handshake);
        Assert.False(handshake.IsPost);
        Assert.Equal("websocket", Encoding.ASCII.GetString(handshake.Upgrade));
        Assert.Equal("13", Encoding.ASCII.GetString(handshake.WebSocketVersion));
        Assert.Equal("http://a.example", Encoding.ASCII.GetString(handshake.Origin));
    }

    [Theory]
    [InlineData("PUT / HTTP/1.1\nHost: a\nContent-Length: 0")]
    [InlineData("post / HTTP/1.1\nHost: a\nContent-Length: 0")]
    [InlineData("POST  / HTTP/1.1\nHost: a\nContent-Length: 0")]
    [InlineData("POST / HTTP/1.0\nHost: a\nContent-Length: 0")]
    [InlineData("POST / HTTP/1.1 \nHost: a\nContent-Length: 0")]
    [InlineData("POST /\nHost: a\nContent-Length: 0")]
    [InlineData("POST / HTTP/1.1\nContent-Length: 0")]
    [InlineData("POST / HTTP/1.1\nHost: a\nHost: a\nContent-Length: 0")]
    [InlineData("POST / HTTP/1.1\nHost: a b\nContent-Length: 0")]
    [InlineData("POST / HTTP/1.1\nHost:\nContent-Length: 0")]
    [InlineData("POST / HTTP/1.1\nHost: a:\nContent-Length: 0")]
    [InlineData("POST / HTTP/1.1\nHost: a:b\nContent-Length: 0")]
    [InlineData("POST / HTTP/1.1\nHost: a:65536\nContent-Length: 0")]
    [InlineData("POST / HTTP/1.1\nHost: u@a\nContent-Length: 0")]
    [InlineData("POST / HTTP/1.1\nHost: a")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 0\nContent-Length: 0")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 0, 0")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: +1")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: -1")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 1 1")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 0x1")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length:")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 101")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 4294967296")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 18446744073709551616")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 0\nTransfer-Encoding: chunked")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 0\nContent-Encoding: gzip")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 0\nExpect: 100-continue")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 0\nX-Forwarded-For: 1.2.3.4")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 0\nPrefer: handling=strict")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length : 0")]
    [InlineData("POST / HTTP/1.1\nHost: a\n Content-Length: 0")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 0\n folded")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 0\nnothing")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 0\n: nothing")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 0\nAccept: \u0001")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 0\nAccept: a\rb")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 0\nAccept: \u00e9")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 0\nConnection: close\nConnection: close")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 0\nConnection: X-Api-Key")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 0\nX-Api-Key: a\nX-Api-Key: b")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 0\nAuthorization: a\nAuthorization: b")]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 0\nUpgrade: h2c")]
    [InlineData("GET / HTTP/1.1\nHost: a\nContent-Length: 0")]
    [InlineData("GET / HTTP/1.1\nHost: a\nConnection: Upgrade")]
    [InlineData("GET / HTTP/1.1\nHost: a\nUpgrade: websocket")]
    [InlineData("GET / HTTP/1.1\nHost: a\nUpgrade: websocket\nConnection: close")]
    [InlineData("PRI * HTTP/2.0")]
    [InlineData("\u0016\u0003\u0001")]
    public void All_else_is_the_servers(string head) => Assert.Equal(Reading.Other, Read(head.Replace("\n", "\r\n", StringComparison.Ordinal) + "\r\n\r\n0"));

    [Theory]
    [InlineData("POST / HTTP/1.1\nHost: a\nContent-Length: 0\n\n")]
    [InlineData("POST / HTTP/1.1\r\nHost: a\nContent-Length: 0\r\n\r\n")]
    [InlineData("\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")]
    public void Lines_end_as_they_should(string request) => Assert.NotEqual(Reading.Whole, Read(request));

    [Fact]
    public void A_head_is_no_longer_than_the_limit()
    {
        Assert.Equal(Reading.Other, Read("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nAccept: " + new string('a', 5_000)));
        Assert.Equal(Reading.Other, Read("POST /" + new string('a', 5_000)));
    }

    /// <summary>Whatever comes, nothing is thrown, nothing past the end is read, and what is whole does not become something else by what comes behind it.</summary>
    [Fact]
    public void What_is_changed_anywhere_is_read_or_left_but_never_breaks()
    {
        var requests = Gen.Elements(Push, Handshake).Select(Encoding.Latin1.GetBytes);
        var changes = Gen.ArrayOf(Gen.Zip(Gen.Choose(0, 1_000), Gen.Choose(0, 255)), 3);
        Prop.ForAll(Gen.Zip(requests, changes).ToArbitrary(), changed =>
        {
            var bytes = (byte[])changed.Item1.Clone();
            foreach (var (place, value) in changed.Item2)
            {
                bytes[place % bytes.Length] = (byte)value;
            }

            var reading = PlainRequest.Read(bytes, BodyMax, out var request);
            var again = PlainRequest.Read([.. bytes, .. "more"u8], BodyMax, out var longer);
            return reading != Reading.Whole || (again == Reading.Whole && longer.Length == request.Length && request.Length <= bytes.Length);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(5_000));
    }

    private static Reading Read(string came) => PlainRequest.Read(Encoding.Latin1.GetBytes(came), BodyMax, out _);
}
