using System.Buffers;
using System.Globalization;
using System.Text;
using Microsoft.AspNetCore.Server.Kestrel.Core.Internal.Http;
using HttpMethod = Microsoft.AspNetCore.Server.Kestrel.Core.Internal.Http.HttpMethod;
using HttpVersion = Microsoft.AspNetCore.Server.Kestrel.Core.Internal.Http.HttpVersion;

namespace Dmb.Http.FastPath;

/// <summary>Result of <see cref="PushRequestParser.Read"/>.</summary>
internal enum PushReading
{
    /// <summary>Outside the subset or invalid: Kestrel parses the same bytes.</summary>
    Unsupported,

    /// <summary>An incomplete head.</summary>
    PartOfHead,

    /// <summary>A complete head.</summary>
    Head,
}

/// <summary>
/// Parses the heads of pushes, <c>POST /_notify/{event}</c> of HTTP/1.1 (RFC 9112) with a <c>Content-Length</c>.
/// Kestrel's parser validates the syntax; this class adds an allow-list of headers. Any other request goes to Kestrel
/// unread.
/// </summary>
/// <remarks>
/// The only class that uses Kestrel's <c>Internal.Http</c> namespace. Values are valid until the next
/// <see cref="Read"/>.
/// </remarks>
internal sealed class PushRequestParser
{
    /// <summary>Maximum bytes of a head; Kestrel accepts more.</summary>
    public const int HeadBytesMax = 8_192;

    private static readonly HttpParser<Handler> Syntax = new(showErrorDetails: false);

    /// <summary>A host name or IPv4 address, and a port.</summary>
    private static readonly SearchValues<byte> HostCharacters = SearchValues.Create(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-."u8
    );

    private ReadOnlyMemory<byte> _received;
    private Headers _seen;
    private bool _isAllowed;
    private Range _event;
    private Range _host;
    private Range _authorization;
    private Range _apiKey;
    private Range _idempotencyKey;
    private Range _traceParent;
    private Range _traceState;
    private Range _userAgent;
    private Range _forwardedFor;
    private Range _forwardedProto;
    private Range _forwardedHost;

    /// <summary>
    /// Headers that affect the answer, at most one of each name; a request with duplicates goes to Kestrel.
    /// </summary>
    [Flags]
    private enum Headers
    {
        None = 0,
        Host = 1,
        ContentLength = 2,
        Connection = 4,
        Authorization = 8,
        ApiKey = 16,
        IdempotencyKey = 32,
        TraceParent = 64,
        TraceState = 128,
        UserAgent = 256,
        ForwardedFor = 512,
        ForwardedProto = 1_024,
        ForwardedHost = 2_048,
    }

    /// <summary>The request target after <c>/_notify/</c>, percent-encoded.</summary>
    public ReadOnlySpan<byte> Event => _received.Span[_event];

    /// <summary><c>Host</c>: a name or an IPv4 address, with or without a port.</summary>
    public ReadOnlySpan<byte> Host => _received.Span[_host];

    /// <summary><c>Authorization</c>. This and the headers below are empty when absent.</summary>
    public ReadOnlySpan<byte> Authorization => _received.Span[_authorization];

    /// <summary><c>X-Api-Key</c>.</summary>
    public ReadOnlySpan<byte> ApiKey => _received.Span[_apiKey];

    /// <summary><c>Idempotency-Key</c>.</summary>
    public ReadOnlySpan<byte> IdempotencyKey => _received.Span[_idempotencyKey];

    /// <summary><c>traceparent</c> (W3C Trace Context).</summary>
    public ReadOnlySpan<byte> TraceParent => _received.Span[_traceParent];

    /// <summary><c>tracestate</c> (W3C Trace Context).</summary>
    public ReadOnlySpan<byte> TraceState => _received.Span[_traceState];

    /// <summary><c>User-Agent</c>.</summary>
    public ReadOnlySpan<byte> UserAgent => _received.Span[_userAgent];

    /// <summary><c>X-Forwarded-For</c>.</summary>
    public ReadOnlySpan<byte> ForwardedFor => _received.Span[_forwardedFor];

    /// <summary><c>X-Forwarded-Proto</c>.</summary>
    public ReadOnlySpan<byte> ForwardedProto => _received.Span[_forwardedProto];

    /// <summary><c>X-Forwarded-Host</c>.</summary>
    public ReadOnlySpan<byte> ForwardedHost => _received.Span[_forwardedHost];

    /// <summary>Whether the sender requests <c>Connection: close</c> (RFC 9112 §9.6).</summary>
    public bool IsLast { get; private set; }

    /// <summary>Bytes of the head.</summary>
    public int HeadLength { get; private set; }

    /// <summary>Bytes of the body, by <c>Content-Length</c>.</summary>
    public int BodyLength { get; private set; }

    /// <summary>Bytes of head and body.</summary>
    public int Length => HeadLength + BodyLength;

    /// <summary>The first bytes of every push.</summary>
    public static ReadOnlySpan<byte> Prefix => "POST /_notify/"u8;

    /// <summary>Parses one head.</summary>
    /// <param name="received">
    /// The received bytes from the start of a request. An incomplete head is parsed again from its start.
    /// </param>
    /// <param name="bodyBytesMax">Limit of <c>Content-Length</c>; Kestrel refuses a larger body.</param>
    public PushReading Read(ReadOnlyMemory<byte> received, int bodyBytesMax)
    {
        var bytes = received.Span;
        if (!bytes.StartsWith(Prefix))
        {
            return Prefix.StartsWith(bytes) ? PushReading.PartOfHead : PushReading.Unsupported;
        }

        var head = bytes[..Math.Min(bytes.Length, HeadBytesMax)];
        var end = head.IndexOf("\r\n\r\n"u8);
        if (end < 0)
        {
            return head.Length < HeadBytesMax ? PushReading.PartOfHead : PushReading.Unsupported;
        }

        _received = received;
        HeadLength = end + 4;
        (_seen, _isAllowed, IsLast, BodyLength) = (Headers.None, true, false, 0);
        (_authorization, _apiKey, _idempotencyKey, _traceParent, _traceState) = (
            default,
            default,
            default,
            default,
            default
        );
        (_userAgent, _forwardedFor, _forwardedProto, _forwardedHost) = (default, default, default, default);
        return IsPush() && BodyLength <= bodyBytesMax ? PushReading.Head : PushReading.Unsupported;
    }

    /// <summary>Whether Kestrel's parser accepts the whole head, and the allow-list its headers.</summary>
    private bool IsPush()
    {
        // Kestrel's parser accepts a bare LF as a line end; a proxy in front may not (request smuggling).
        var head = _received.Span[..HeadLength];
        if (head.Count((byte)'\n') != head.Count("\r\n"u8))
        {
            return false;
        }

        var reader = new SequenceReader<byte>(new ReadOnlySequence<byte>(_received[..HeadLength]));
        try
        {
            return Syntax.ParseRequestLine(new Handler(this), ref reader)
                && _isAllowed
                && Syntax.ParseHeaders(new Handler(this), ref reader)
                && _isAllowed
                && reader.Consumed == HeadLength
                && _seen.HasFlag(Headers.Host | Headers.ContentLength);
        }
        catch (BadHttpRequestException)
        {
            return false;
        }
    }

    private void OnStartLine(
        HttpVersionAndMethod versionAndMethod,
        TargetOffsetPathLength target,
        ReadOnlySpan<byte> line
    )
    {
        _isAllowed =
            versionAndMethod is { Method: HttpMethod.Post, Version: HttpVersion.Http11 }
            && !target.IsEncoded
            && target.Offset + target.Length == line.Length;
        _event = Prefix.Length..line.Length;
    }

    private void OnHeader(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        if (value.ContainsAnyExceptInRange((byte)' ', (byte)'~'))
        {
            _isAllowed = false;
            return;
        }

        switch (name.Length)
        {
            case 4 when Is(name, "Host"u8):
                _isAllowed &= Set(Headers.Host, value, ref _host) && IsHost(value);
                break;
            case 14 when Is(name, "Content-Length"u8):
                _isAllowed &=
                    IsFirst(Headers.ContentLength)
                    && int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var length)
                    && (BodyLength = length) >= 0;
                break;
            case 10 when Is(name, "Connection"u8):
                IsLast = Is(value, "close"u8);
                _isAllowed &= IsFirst(Headers.Connection) && (IsLast || Is(value, "keep-alive"u8));
                break;
            case 13 when Is(name, "Authorization"u8):
                _isAllowed &= Set(Headers.Authorization, value, ref _authorization);
                break;
            case 9 when Is(name, "X-Api-Key"u8):
                _isAllowed &= Set(Headers.ApiKey, value, ref _apiKey);
                break;
            case 15 when Is(name, "Idempotency-Key"u8):
                _isAllowed &= Set(Headers.IdempotencyKey, value, ref _idempotencyKey);
                break;
            case 11 when Is(name, "traceparent"u8):
                _isAllowed &= Set(Headers.TraceParent, value, ref _traceParent);
                break;
            case 10 when Is(name, "tracestate"u8):
                _isAllowed &= Set(Headers.TraceState, value, ref _traceState);
                break;
            case 10 when Is(name, "User-Agent"u8):
                _isAllowed &= Set(Headers.UserAgent, value, ref _userAgent);
                break;
            case 15 when Is(name, "X-Forwarded-For"u8):
                _isAllowed &= Set(Headers.ForwardedFor, value, ref _forwardedFor);
                break;
            case 17 when Is(name, "X-Forwarded-Proto"u8):
                _isAllowed &= Set(Headers.ForwardedProto, value, ref _forwardedProto);
                break;
            case 16 when Is(name, "X-Forwarded-Host"u8):
                _isAllowed &= Set(Headers.ForwardedHost, value, ref _forwardedHost);
                break;
            default:
                _isAllowed &= IsIgnored(name);
                break;
        }
    }

    /// <summary>Headers of SIP servers, libraries, browsers and proxies that have no effect on a push.</summary>
    private static bool IsIgnored(ReadOnlySpan<byte> name) =>
        name.Length switch
        {
            3 => Is(name, "DNT"u8) || Is(name, "Via"u8),
            6 => Is(name, "Accept"u8) || Is(name, "Cookie"u8) || Is(name, "Pragma"u8),
            7 => Is(name, "Sec-GPC"u8) || Is(name, "baggage"u8),
            8 => Is(name, "Priority"u8) || Is(name, "X-Scheme"u8),
            9 => Is(name, "Forwarded"u8) || Is(name, "X-Real-IP"u8),
            12 => Is(name, "Content-Type"u8) || Is(name, "X-Request-Id"u8),
            13 => Is(name, "Cache-Control"u8),
            14 => Is(name, "Sec-Fetch-Mode"u8) || Is(name, "Sec-Fetch-Site"u8) || Is(name, "Sec-Fetch-Dest"u8),
            15 => Is(name, "Accept-Encoding"u8) || Is(name, "Accept-Language"u8) || Is(name, "X-Amzn-Trace-Id"u8),
            16 => Is(name, "X-Forwarded-Port"u8) || Is(name, "X-Correlation-Id"u8),
            18 => Is(name, "X-Forwarded-Server"u8),
            _ => false,
        };

    private bool Set(Headers header, ReadOnlySpan<byte> value, ref Range range)
    {
        // Kestrel's parser passes slices of its input.
        var isInside = _received.Span.Overlaps(value, out var offset);
        range = isInside ? offset..(offset + value.Length) : default;
        return IsFirst(header) && (isInside || value.IsEmpty);
    }

    private bool IsFirst(Headers header)
    {
        var isFirst = !_seen.HasFlag(header);
        _seen |= header;
        return isFirst;
    }

    private static bool IsHost(ReadOnlySpan<byte> value)
    {
        var colon = value.IndexOf((byte)':');
        var name = colon < 0 ? value : value[..colon];
        return !name.IsEmpty
            && !name.ContainsAnyExcept(HostCharacters)
            && (
                colon < 0
                || ushort.TryParse(value[(colon + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out _)
            );
    }

    private static bool Is(ReadOnlySpan<byte> value, ReadOnlySpan<byte> expected) =>
        Ascii.EqualsIgnoreCase(value, expected);

    /// <summary>A struct, so that the generic parser is specialised for it and calls it directly.</summary>
    private readonly struct Handler(PushRequestParser parser) : IHttpRequestLineHandler, IHttpHeadersHandler
    {
        public void OnStartLine(
            HttpVersionAndMethod versionAndMethod,
            TargetOffsetPathLength targetPath,
            Span<byte> startLine
        ) => parser.OnStartLine(versionAndMethod, targetPath, startLine);

        public void OnHeader(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value) => parser.OnHeader(name, value);

        public void OnHeadersComplete(bool endStream)
        {
            // The parser's reader has the end of the head.
        }

        public void OnStaticIndexedHeader(int index) => throw new NotSupportedException("Indexed headers are HTTP/2.");

        public void OnStaticIndexedHeader(int index, ReadOnlySpan<byte> value) =>
            throw new NotSupportedException("Indexed headers are HTTP/2.");
    }
}
