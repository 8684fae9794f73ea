using System.Buffers;
using System.Buffers.Text;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using Dmb.Access;
using Dmb.Connections;
using Dmb.Sockets;
using Microsoft.AspNetCore.Connections;

namespace Dmb.Endpoints;

/// <summary>A handshake that was read.</summary>
/// <param name="Caller">Who opens a session, or why that is refused.</param>
/// <param name="IsAllowed">Whether the page that it comes from, if any, may use the broker.</param>
/// <param name="Answer">What is answered if it is let in.</param>
/// <param name="Length">Bytes of the request.</param>
internal readonly record struct Handshake(ValueTask<Caller> Caller, bool IsAllowed, byte[] Answer, int Length);

/// <summary>Opening handshakes of WebSockets (RFC 6455 §4.2) as plain requests.</summary>
internal sealed class Handshakes(SocketSessions sessions, OriginCheck origins, Authentication authentication, SocketOptions options)
{
    private const int KeyBytes = 16;

    private static ReadOnlySpan<byte> Path => "/ws"u8;

    /// <summary>RFC 6455 §1.3.</summary>
    private static ReadOnlySpan<byte> Guid => "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"u8;

    /// <summary>Reads a handshake; false if the request is something else, wrong, or asks for what only the server's handshake has: compression, a query.</summary>
    public bool TryRead(in PlainRequest request, ConnectionContext connection, out Handshake handshake)
    {
        handshake = default;
        Span<byte> key = stackalloc byte[KeyBytes + 2];
        if (request.IsPost || !request.Target.SequenceEqual(Path)
            || !Ascii.EqualsIgnoreCase(request.Upgrade, "websocket"u8) || !request.WebSocketVersion.SequenceEqual("13"u8)
            || Base64.DecodeFromUtf8(request.WebSocketKey, key, out var read, out var decoded) != OperationStatus.Done
            || read != request.WebSocketKey.Length || decoded != KeyBytes
            || (options.WsCompression && !request.WebSocketExtensions.IsEmpty))
        {
            return false;
        }

        var port = ((IPEndPoint)connection.LocalEndPoint!).Port;
        handshake = new Handshake(authentication.ReadAsync(request), origins.Allows(request, port), Answer(request), request.Length);
        return true;
    }

    /// <inheritdoc cref="SocketSessions.AdmitAsync"/>
    public ValueTask<AdmittedSession> AdmitAsync(in Handshake handshake, IPAddress? address) => sessions.AdmitAsync(handshake.Caller, handshake.IsAllowed, address);

    /// <summary>Answers a handshake, and serves the session over the connection's socket.</summary>
    public void Serve(SocketConnection connection, in Handshake handshake, in AdmittedSession admitted) =>
        sessions.ServeDetachedAsync(new SharedStream(connection.Socket, connection.DetachSocket()), deflate: null, admitted with { Answer = handshake.Answer });

    private static byte[] Answer(in PlainRequest request)
    {
        Span<byte> text = stackalloc byte[request.WebSocketKey.Length + Guid.Length];
        request.WebSocketKey.CopyTo(text);
        Guid.CopyTo(text[request.WebSocketKey.Length..]);
        Span<byte> hash = stackalloc byte[SHA1.HashSizeInBytes];
#pragma warning disable CA5350 // RFC 6455 §4.2.2 wants no other.
        SHA1.HashData(text, hash);
#pragma warning restore CA5350
        var protocol = IsOffered(request.WebSocketProtocol) ? $"Sec-WebSocket-Protocol: {SocketEndpoints.Subprotocol}\r\n" : "";
        return Encoding.ASCII.GetBytes(
            $"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {Convert.ToBase64String(hash)}\r\n{protocol}\r\n");
    }

    private static bool IsOffered(ReadOnlySpan<byte> protocols)
    {
        foreach (var protocol in protocols.Split((byte)','))
        {
            if (Ascii.Equals(protocols[protocol].Trim(" \t"u8), SocketEndpoints.Subprotocol))
            {
                return true;
            }
        }

        return false;
    }
}
