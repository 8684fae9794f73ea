using System.Buffers;
using System.Globalization;
using System.Text;

namespace Dmb.Connections;

/// <summary>What there is at the front of what came.</summary>
internal enum Reading
{
    /// <summary>Something that is not plain, or no request at all: the server says which.</summary>
    Other,

    /// <summary>The beginning of a plain request.</summary>
    Part,

    /// <summary>A plain request.</summary>
    Whole,
}

/// <summary>
/// A GET without a body, or a POST with a length, of HTTP/1.1 (RFC 9112) that leaves nothing to be judged: of headers it has only those that
/// are named here. Whatever is otherwise, or wrong, is for the server, which reads the same bytes again.
/// </summary>
internal ref struct PlainRequest
{
    /// <summary>What a head may have, in bytes. The server takes more.</summary>
    private const int HeadMax = 4_096;

    /// <summary>A host's name or IPv4 address, and its port.</summary>
    private static readonly SearchValues<byte> HostCharacters =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-."u8);

    private Headers _seen;
    private int _headLength;
    private int _bodyLength;
    private bool _isUpgrade;

    /// <summary>What a request has once, if at all, so that nobody can take another one of two for the right one.</summary>
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
        Origin = 128,
        Upgrade = 256,
        WebSocketKey = 512,
        WebSocketVersion = 1_024,
        WebSocketProtocol = 2_048,
        WebSocketExtensions = 4_096,
    }

    /// <summary>Whether it is a POST; otherwise it is a GET.</summary>
    public bool IsPost { get; private set; }

    /// <summary>The path, and the query if there is one, as they came.</summary>
    public ReadOnlySpan<byte> Target { get; private set; }

    /// <summary>The header of that name: a name or an IPv4 address, with or without a port.</summary>
    public ReadOnlySpan<byte> Host { get; private set; }

    /// <summary>The header of that name; empty if there is none.</summary>
    public ReadOnlySpan<byte> Origin { get; private set; }

    /// <summary>The header of that name; empty if there is none.</summary>
    public ReadOnlySpan<byte> Authorization { get; private set; }

    /// <summary>The header <c>X-Api-Key</c>; empty if there is none.</summary>
    public ReadOnlySpan<byte> ApiKey { get; private set; }

    /// <summary>The header <c>Idempotency-Key</c>; empty if there is none.</summary>
    public ReadOnlySpan<byte> IdempotencyKey { get; private set; }

    /// <summary>The header <c>traceparent</c> (W3C Trace Context); empty if there is none.</summary>
    public ReadOnlySpan<byte> TraceParent { get; private set; }

    /// <summary>The header of that name, if <c>Connection</c> says that it counts (RFC 9110 §7.8); empty otherwise.</summary>
    public ReadOnlySpan<byte> Upgrade { get; private set; }

    /// <summary>The header <c>Sec-WebSocket-Key</c>; empty if there is none.</summary>
    public ReadOnlySpan<byte> WebSocketKey { get; private set; }

    /// <summary>The header <c>Sec-WebSocket-Version</c>; empty if there is none.</summary>
    public ReadOnlySpan<byte> WebSocketVersion { get; private set; }

    /// <summary>The header <c>Sec-WebSocket-Protocol</c>; empty if there is none.</summary>
    public ReadOnlySpan<byte> WebSocketProtocol { get; private set; }

    /// <summary>The header <c>Sec-WebSocket-Extensions</c>; empty if there is none.</summary>
    public ReadOnlySpan<byte> WebSocketExtensions { get; private set; }

    /// <summary>Whether the sender wants the connection closed after the answer (RFC 9112 §9.6).</summary>
    public bool IsLast { get; private set; }

    /// <summary>Where its body is in what came.</summary>
    public readonly Range Body => _headLength..Length;

    /// <summary>How many bytes it has.</summary>
    public readonly int Length => _headLength + _bodyLength;

    private static ReadOnlySpan<byte> Get => "GET "u8;

    private static ReadOnlySpan<byte> Post => "POST "u8;

    private static ReadOnlySpan<byte> Version => " HTTP/1.1\r\n"u8;

    /// <summary>Reads what is at the front.</summary>
    /// <param name="came">From a request's first byte on. If that is a part, the same has to be read again when there is more.</param>
    /// <param name="bodyMax">Bytes that a body may have; a larger one is for the server to refuse.</param>
    /// <param name="request">What was read, if it is whole.</param>
    public static Reading Read(ReadOnlySpan<byte> came, int bodyMax, out PlainRequest request)
    {
        request = default;
        request.IsPost = came.StartsWith(Post);
        if (!request.IsPost && !came.StartsWith(Get))
        {
            return Post.StartsWith(came) || Get.StartsWith(came) ? Reading.Part : Reading.Other;
        }

        var head = came[..Math.Min(came.Length, HeadMax)];
        var end = head.IndexOf("\r\n\r\n"u8);
        if (end < 0)
        {
            return head.Length < HeadMax ? Reading.Part : Reading.Other;
        }

        head = head[(request.IsPost ? Post : Get).Length..(end + 2)];
        var targetEnd = head.IndexOf((byte)' ');
        if (targetEnd < 0 || !head[targetEnd..].StartsWith(Version))
        {
            return Reading.Other;
        }

        request.Target = head[..targetEnd];
        request._headLength = end + 4;
        return !request.TryReadHeaders(head[(targetEnd + Version.Length)..], bodyMax) ? Reading.Other
            : came.Length < request.Length ? Reading.Part
            : Reading.Whole;
    }

    private bool TryReadHeaders(ReadOnlySpan<byte> lines, int bodyMax)
    {
        while (!lines.IsEmpty)
        {
            var lineEnd = lines.IndexOf("\r\n"u8);
            var colon = lines[..lineEnd].IndexOf((byte)':');
            if (colon < 0)
            {
                return false;
            }

            var value = lines[(colon + 1)..lineEnd].Trim(" \t"u8);
            if (value.ContainsAnyExceptInRange((byte)' ', (byte)'~') || !TryReadHeader(lines[..colon], value))
            {
                return false;
            }

            lines = lines[(lineEnd + 2)..];
        }

        // Each of the two makes no sense without the other.
        return _seen.HasFlag(Headers.Host) && _seen.HasFlag(Headers.ContentLength) == IsPost && _seen.HasFlag(Headers.Upgrade) == _isUpgrade && _bodyLength <= bodyMax;
    }

    private bool TryReadHeader(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        switch (name.Length)
        {
            case 4 when Is(name, "Host"u8):
                Host = value;
                return IsFirst(Headers.Host) && IsHost(value);
            case 14 when Is(name, "Content-Length"u8):
                return IsFirst(Headers.ContentLength) && int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out _bodyLength);
            case 10 when Is(name, "Connection"u8):
                IsLast = Is(value, "close"u8);
                _isUpgrade = Is(value, "Upgrade"u8) || Is(value, "keep-alive, Upgrade"u8);
                return IsFirst(Headers.Connection) && (IsLast || _isUpgrade || Is(value, "keep-alive"u8));
            case 13 when Is(name, "Authorization"u8):
                Authorization = value;
                return IsFirst(Headers.Authorization);
            case 9 when Is(name, "X-Api-Key"u8):
                ApiKey = value;
                return IsFirst(Headers.ApiKey);
            case 15 when Is(name, "Idempotency-Key"u8):
                IdempotencyKey = value;
                return IsFirst(Headers.IdempotencyKey);
            case 11 when Is(name, "traceparent"u8):
                TraceParent = value;
                return IsFirst(Headers.TraceParent);
            case 6 when Is(name, "Origin"u8):
                Origin = value;
                return IsFirst(Headers.Origin);
            case 7 when Is(name, "Upgrade"u8):
                Upgrade = value;
                return IsFirst(Headers.Upgrade);
            case 17 when Is(name, "Sec-WebSocket-Key"u8):
                WebSocketKey = value;
                return IsFirst(Headers.WebSocketKey);
            case 21 when Is(name, "Sec-WebSocket-Version"u8):
                WebSocketVersion = value;
                return IsFirst(Headers.WebSocketVersion);
            case 22 when Is(name, "Sec-WebSocket-Protocol"u8):
                WebSocketProtocol = value;
                return IsFirst(Headers.WebSocketProtocol);
            case 24 when Is(name, "Sec-WebSocket-Extensions"u8):
                WebSocketExtensions = value;
                return IsFirst(Headers.WebSocketExtensions);
            default:
                return IsIdle(name);
        }
    }

    /// <summary>Whether it is a header that SIP servers, libraries and browsers send and on which nothing depends here.</summary>
    private static bool IsIdle(ReadOnlySpan<byte> name) => name.Length switch
    {
        3 => Is(name, "DNT"u8),
        6 => Is(name, "Accept"u8) || Is(name, "Cookie"u8) || Is(name, "Pragma"u8),
        7 => Is(name, "Sec-GPC"u8),
        10 => Is(name, "User-Agent"u8),
        12 => Is(name, "Content-Type"u8),
        13 => Is(name, "Cache-Control"u8),
        14 => Is(name, "Sec-Fetch-Mode"u8) || Is(name, "Sec-Fetch-Site"u8) || Is(name, "Sec-Fetch-Dest"u8),
        15 => Is(name, "Accept-Encoding"u8) || Is(name, "Accept-Language"u8),
        _ => false,
    };

    private bool IsFirst(Headers header)
    {
        var isFirst = !_seen.HasFlag(header);
        _seen |= header;
        return isFirst;
    }

    /// <summary>Whether it is a name or an IPv4 address, with or without a port.</summary>
    private static bool IsHost(ReadOnlySpan<byte> value)
    {
        var colon = value.IndexOf((byte)':');
        var name = colon < 0 ? value : value[..colon];
        return !name.IsEmpty && !name.ContainsAnyExcept(HostCharacters)
            && (colon < 0 || ushort.TryParse(value[(colon + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out _));
    }

    private static bool Is(ReadOnlySpan<byte> value, ReadOnlySpan<byte> expected) => Ascii.EqualsIgnoreCase(value, expected);
}
