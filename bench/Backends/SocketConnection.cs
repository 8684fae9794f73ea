using System.Buffers.Binary;
using System.Net;
using System.Text;

namespace Dmb.Bench.Backends;

/// <summary>A browser's side of /ws.</summary>
internal sealed class SocketConnection : Connection
{
    private const int Text = 1;
    private const int Ping = 9;
    private const int Pong = 10;

    public SocketConnection(IPEndPoint server)
        : base(server)
    {
        Send(
            Encoding.ASCII.GetBytes(
                $"GET /ws HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                    + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
        );
        while (ReadLine() != "")
        {
            // The answer to the handshake.
        }
    }

    public void Say(string frame) => Send(Text, Encoding.UTF8.GetBytes(frame));

    /// <summary>The frame that comes next. Pings are answered.</summary>
    /// <exception cref="IOException">The broker closed the session.</exception>
    public string Next()
    {
        while (true)
        {
            var opcode = ReadByte() & 15;
            int length = ReadByte();
            var payload = Read(
                length switch
                {
                    126 => BinaryPrimitives.ReadUInt16BigEndian(Read(2)),
                    127 => (int)BinaryPrimitives.ReadUInt64BigEndian(Read(8)),
                    _ => length,
                }
            );
            switch (opcode)
            {
                case Text:
                    return Encoding.UTF8.GetString(payload);
                case Ping:
                    Send(Pong, payload);
                    break;
                default:
                    throw new IOException($"The broker sent a frame of opcode {opcode}.");
            }
        }
    }

    private void Send(int opcode, byte[] payload)
    {
        // A client must mask; with a mask of zeros the payload stays as it is.
        byte[] head =
            payload.Length < 126
                ? [(byte)(0x80 | opcode), (byte)(0x80 | payload.Length), 0, 0, 0, 0]
                : [(byte)(0x80 | opcode), 0x80 | 126, (byte)(payload.Length >> 8), (byte)payload.Length, 0, 0, 0, 0];
        Send([.. head, .. payload]);
    }
}
