using System.Text;
using Dmb.Http.FastPath;
using FsCheck;
using FsCheck.Fluent;
using Microsoft.AspNetCore.Server.Kestrel.Core.Internal.Http;

namespace Dmb.Tests.Http.FastPath;

/// <summary>The fast path takes only requests that can be read in one way.</summary>
public sealed class PushRequestParserTests
{
    private const int BodyMax = 100;

    private const string Push =
        "POST /_notify/call HTTP/1.1\r\nHost: a.example:5000\r\nUser-Agent: x/1\r\nContent-Type: application/json\r\n"
        + "Content-Length: 7\r\nIdempotency-Key: k\r\n\r\n{\"a\":1}";

    [Theory]
    [InlineData(Push)]
    [InlineData("POST /_notify/call HTTP/1.1\r\nhost:127.0.0.1\r\nCONTENT-LENGTH:\t0 \r\n\r\n")]
    public void Each_prefix_of_a_head_is_incomplete_and_later_bytes_are_not_consumed(string request)
    {
        var headLength = request.IndexOf("\r\n\r\n", StringComparison.Ordinal) + 4;
        for (var length = 1; length < headLength; length++)
        {
            Assert.Equal(PushReading.PartOfHead, Read(request[..length]));
        }

        foreach (var more in new[] { "", "\r\n", "POST", request })
        {
            Assert.Equal(PushReading.Head, Parse(Encoding.Latin1.GetBytes(request + more), out var read));
            Assert.Equal(request.Length, read.Length);
        }
    }

    [Fact]
    public void All_headers_of_the_list_are_read()
    {
        var request =
            "POST /_notify/call HTTP/1.1\nHost: a:1\nContent-Length: 7\nConnection: close\nAuthorization: Bearer "
            + "b\nX-Api-Key: c\n"
            + "Idempotency-Key: d\ntraceparent: e\ntracestate: f=1\nUser-Agent: g\nX-Forwarded-For: h, "
            + "i\nX-Forwarded-Proto: j\n"
            + "X-Forwarded-Host: k\nForwarded: for=l\nVia: 1.1 m\nX-Request-Id: n";
        Assert.Equal(
            PushReading.Head,
            Parse(Encoding.ASCII.GetBytes(request.ReplaceLineEndings("\r\n") + "\r\n\r\n"), out var head)
        );
        Assert.Equal("call", Encoding.ASCII.GetString(head.Event));
        Assert.Equal("a:1", Encoding.ASCII.GetString(head.Host));
        Assert.Equal(7, head.BodyLength);
        Assert.True(head.IsLast);
        Assert.Equal("Bearer b", Encoding.ASCII.GetString(head.Authorization));
        Assert.Equal("c", Encoding.ASCII.GetString(head.ApiKey));
        Assert.Equal("d", Encoding.ASCII.GetString(head.IdempotencyKey));
        Assert.Equal("e", Encoding.ASCII.GetString(head.TraceParent));
        Assert.Equal("f=1", Encoding.ASCII.GetString(head.TraceState));
        Assert.Equal("g", Encoding.ASCII.GetString(head.UserAgent));
        Assert.Equal("h, i", Encoding.ASCII.GetString(head.ForwardedFor));
        Assert.Equal("j", Encoding.ASCII.GetString(head.ForwardedProto));
        Assert.Equal("k", Encoding.ASCII.GetString(head.ForwardedHost));
    }

    [Fact]
    public void A_head_has_no_values_of_the_previous_one()
    {
        var parser = new PushRequestParser();
        parser.Read(Encoding.ASCII.GetBytes(Push), BodyMax);
        parser.Read("POST /_notify/call HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"u8.ToArray(), BodyMax);
        Assert.True(parser.IdempotencyKey.IsEmpty && parser.UserAgent.IsEmpty);
        Assert.Equal(0, parser.BodyLength);
    }

    [Fact]
    public void The_parser_of_the_framework_has_the_shape_that_is_used()
    {
        var parser = typeof(HttpParser<>);
        Assert.True(parser.IsPublic);
        Assert.NotNull(parser.GetConstructor([typeof(bool)]));
        Assert.Equal(["handler", "reader"], parser.GetMethod("ParseRequestLine")!.GetParameters().Select(p => p.Name));
        Assert.Equal(["handler", "reader"], parser.GetMethod("ParseHeaders")!.GetParameters().Select(p => p.Name));
        Assert.Equal(
            ["OnHeader", "OnHeadersComplete", "OnStaticIndexedHeader", "OnStaticIndexedHeader"],
            typeof(IHttpHeadersHandler).GetMethods().Select(method => method.Name).Order(StringComparer.Ordinal)
        );
        Assert.Equal(["OnStartLine"], typeof(IHttpRequestLineHandler).GetMethods().Select(method => method.Name));
    }

    [Fact]
    public void Only_the_parser_uses_the_internals_of_the_server()
    {
        var users = Directory
            .EnumerateFiles(Repository.Root, "*.cs", SearchOption.AllDirectories)
            .Where(file =>
                !file.Contains("/tests/", StringComparison.Ordinal) && !file.Contains("/obj/", StringComparison.Ordinal)
            )
            .Where(file => File.ReadAllText(file).Contains("Kestrel.Core.Internal", StringComparison.Ordinal));
        Assert.Equal(["PushRequestParser.cs"], users.Select(file => Path.GetFileName(file)));
    }

    [Theory]
    [InlineData("PUT /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0")]
    [InlineData("post /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0")]
    [InlineData("POST  /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0")]
    [InlineData("POST /_notify/call HTTP/1.0\nHost: a\nContent-Length: 0")]
    [InlineData("POST /_notify/call HTTP/1.1 \nHost: a\nContent-Length: 0")]
    [InlineData("POST /_notify/call\nHost: a\nContent-Length: 0")]
    [InlineData("POST /_notify/call HTTP/1.1\nContent-Length: 0")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nHost: a\nContent-Length: 0")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a b\nContent-Length: 0")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost:\nContent-Length: 0")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a:\nContent-Length: 0")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a:b\nContent-Length: 0")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a:65536\nContent-Length: 0")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: u@a\nContent-Length: 0")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0\nContent-Length: 0")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0, 0")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: +1")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: -1")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 1 1")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0x1")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length:")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 101")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 4294967296")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 18446744073709551616")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0\nTransfer-Encoding: chunked")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0\nContent-Encoding: gzip")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0\nExpect: 100-continue")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0\nX-Forwarded-For: b\nX-Forwarded-For: c")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0\nOrigin:")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0\nOrigin: http://a")]
    [InlineData("POST http://a/_notify/call HTTP/1.1\nHost: a\nContent-Length: 0")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0\nPrefer: handling=strict")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length : 0")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\n Content-Length: 0")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0\n folded")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0\nnothing")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0\n: nothing")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0\nAccept: \u0001")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0\nAccept: a\rb")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0\nAccept: \u00e9")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0\nConnection: close\nConnection: close")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0\nConnection: X-Api-Key")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0\nX-Api-Key: a\nX-Api-Key: b")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0\nAuthorization: a\nAuthorization: b")]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0\nUpgrade: h2c")]
    [InlineData("PRI * HTTP/2.0")]
    [InlineData("\u0016\u0003\u0001")]
    public void All_other_requests_are_Kestrels(string head) =>
        Assert.Equal(PushReading.Unsupported, Read(head.Replace("\n", "\r\n", StringComparison.Ordinal) + "\r\n\r\n0"));

    [Theory]
    [InlineData("POST /_notify/call HTTP/1.1\nHost: a\nContent-Length: 0\n\n")]
    [InlineData("POST /_notify/call HTTP/1.1\r\nHost: a\nContent-Length: 0\r\n\r\n")]
    [InlineData("\r\nPOST /_notify/call HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")]
    public void Lines_end_as_they_should(string request) => Assert.NotEqual(PushReading.Head, Read(request));

    [Fact]
    public void A_head_longer_than_the_limit_is_unsupported()
    {
        Assert.Equal(
            PushReading.Unsupported,
            Read(
                "POST /_notify/call HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nAccept: "
                    + new string('a', PushRequestParser.HeadBytesMax)
            )
        );
        Assert.Equal(PushReading.Unsupported, Read("POST /_notify/" + new string('a', PushRequestParser.HeadBytesMax)));
    }

    /// <summary>Nothing is thrown, and bytes that follow a request do not change how it is read.</summary>
    [Fact]
    public void Changed_bytes_never_break_the_parser()
    {
        var changes = Gen.ArrayOf(Gen.Zip(Gen.Choose(0, 1_000), Gen.Choose(0, 255)), 3);
        Prop.ForAll(changes.ToArbitrary(), changed =>
            {
                var bytes = Encoding.Latin1.GetBytes(Push);
                foreach (var (place, value) in changed)
                {
                    bytes[place % bytes.Length] = (byte)value;
                }

                var reading = Parse(bytes, out var request);
                var again = Parse([.. bytes, .. "more"u8], out var longer);
                return reading != PushReading.Head
                    || (
                        again == PushReading.Head
                        && longer.Length == request.Length
                        && request.HeadLength <= bytes.Length
                    );
            })
            .Check(Config.QuickThrowOnFailure.WithMaxTest(5_000));
    }

    private static PushReading Read(string received) => Parse(Encoding.Latin1.GetBytes(received), out _);

    private static PushReading Parse(byte[] received, out PushRequestParser parser)
    {
        parser = new PushRequestParser();
        return parser.Read(received, BodyMax);
    }
}
