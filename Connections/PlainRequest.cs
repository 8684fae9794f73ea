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
/// A POST of HTTP/1.1 (RFC 9112) that leaves nothing to be judged: a path without escapes or query, a length, and of headers only those
/// that are named here. Whatever is otherwise, or wrong, is for the server, which reads the same bytes again.
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
    }

    /// <summary>The path.</summary>
    public ReadOnlySpan<byte> Path { get; private set; }

    /// <summary>The header of that name; empty if there is none.</summary>
    public ReadOnlySpan<byte> Authorization { get; private set; }

    /// <summary>The header <c>X-Api-Key</c>; empty if there is none.</summary>
    public ReadOnlySpan<byte> ApiKey { get; private set; }

    /// <summary>The header <c>Idempotency-Key</c>; empty if there is none.</summary>
    public ReadOnlySpan<byte> IdempotencyKey { get; private set; }

    /// <summary>The header <c>traceparent</c> (W3C Trace Context); empty if there is none.</summary>
    public ReadOnlySpan<byte> TraceParent { get; private set; }

    /// <summary>Whether the sender wants the connection closed after the answer (RFC 9112 §9.6).</summary>
    public bool IsLast { get; private set; }

    /// <summary>Where its body is in what came.</summary>
    public readonly Range Body => _headLength..Length;

    /// <summary>How many bytes it has.</summary>
    public readonly int Length => _headLength + _bodyLength;

    private static ReadOnlySpan<byte> Method => "POST "u8;

    private static ReadOnlySpan<byte> Version => " HTTP/1.1\r\n"u8;

    /// <summary>Reads what is at the front.</summary>
    /// <param name="came">From a request's first byte on. If that is a part, the same has to be read again when there is more.</param>
    /// <param name="bodyMax">Bytes that a body may have; a larger one is for the server to refuse.</param>
    /// <param name="request">What was read, if it is whole.</param>
    public static Reading Read(ReadOnlySpan<byte> came, int bodyMax, out PlainRequest request)
    {
        request = default;
        if (!came.StartsWith(Method))
        {
            return Method.StartsWith(came) ? Reading.Part : Reading.Other;
        }

        var head = came[..Math.Min(came.Length, HeadMax)];
        var end = head.IndexOf("\r\n\r\n"u8);
        if (end < 0)
        {
            return head.Length < HeadMax ? Reading.Part : Reading.Other;
        }

        head = head[Method.Length..(end + 2)];
        var pathEnd = head.IndexOf((byte)' ');
        if (pathEnd < 0 || !head[pathEnd..].StartsWith(Version))
        {
            return Reading.Other;
        }

        request.Path = head[..pathEnd];
        request._headLength = end + 4;
        return !request.TryReadHeaders(head[(pathEnd + Version.Length)..], bodyMax) ? Reading.Other
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

        return _seen.HasFlag(Headers.Host | Headers.ContentLength) && _bodyLength <= bodyMax;
    }

    private bool TryReadHeader(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        switch (name.Length)
        {
            case 4 when Is(name, "Host"u8):
                return IsFirst(Headers.Host) && IsHost(value);
            case 10 when Is(name, "User-Agent"u8):
            case 6 when Is(name, "Accept"u8):
            case 15 when Is(name, "Accept-Encoding"u8):
            case 12 when Is(name, "Content-Type"u8):
                // Nothing depends on these.
                return true;
            case 14 when Is(name, "Content-Length"u8):
                return IsFirst(Headers.ContentLength) && int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out _bodyLength);
            case 10 when Is(name, "Connection"u8):
                IsLast = Is(value, "close"u8);
                return IsFirst(Headers.Connection) && (IsLast || Is(value, "keep-alive"u8));
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
            default:
                return false;
        }
    }

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
