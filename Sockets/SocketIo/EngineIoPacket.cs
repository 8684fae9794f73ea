namespace Dmb.Sockets;

/// <summary>The generations of Engine.IO that are served.</summary>
internal enum EngineIoVersion
{
    /// <summary>
    /// Protocol 3 (and 2, which differs in nothing that a server sees): Socket.IO clients 1.x and 2.x.
    /// </summary>
    V3 = 3,

    /// <summary>Protocol 4: Socket.IO clients 3.x and 4.x.</summary>
    V4 = 4,
}

/// <summary>
/// One packet of Engine.IO from a client (Engine.IO Protocol, "Packet types"). The content of a binary packet has no
/// use here and is not kept.
/// </summary>
/// <param name="IsBinary">Whether it is a binary message.</param>
/// <param name="Text">Of a text packet its type, one digit, and its content in UTF-8; borrowed.</param>
internal readonly record struct EngineIoPacket(bool IsBinary, ReadOnlyMemory<byte> Text)
{
    public const byte Close = (byte)'1';
    public const byte Ping = (byte)'2';
    public const byte Pong = (byte)'3';
    public const byte Message = (byte)'4';
    public const byte Upgrade = (byte)'5';
    public const byte Noop = (byte)'6';

    /// <summary>A binary message.</summary>
    public static readonly EngineIoPacket Binary = new(IsBinary: true, default);

    /// <summary>The digit of its type; 0 if it has none.</summary>
    public byte Type => Text.IsEmpty ? (byte)0 : Text.Span[0];
}
