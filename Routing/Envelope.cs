namespace Dmb.Routing;

/// <summary>One event on its way: its data is passed on unread, as the bytes that came.</summary>
internal sealed class Envelope(string @event, string id, string[] rooms, ReadOnlyMemory<byte> data, bool isKept = false)
{
    private bool _isKept = isKept;

    /// <summary>The event's name, of the form <see cref="Names.IsEvent"/>.</summary>
    public string Event { get; } = @event;

    /// <summary>The message id: ours (UUIDv7), or 1 to 64 characters that the publisher brought.</summary>
    public string Id { get; } = id;

    /// <summary>The rooms it is addressed to, each once.</summary>
    public string[] Rooms { get; } = rooms;

    /// <summary>One JSON value in UTF-8. Borrowed from whoever publishes until <see cref="Keep"/>.</summary>
    public ReadOnlyMemory<byte> Data { get; private set; } = data;

    /// <summary>The finished bytes for each wire format, made by the first subscriber that needs them and shared by all.</summary>
    public byte[]?[] Encoded { get; } = new byte[]?[WireFormats];

    /// <summary>A new message id: unique over the cluster, and sortable by time (UUIDv7, RFC 9562 §5.7).</summary>
    public static string NewId(TimeProvider time) => Guid.CreateVersion7(time.GetUtcNow()).ToString();

    /// <summary>How many formats <see cref="Encoded"/> has room for.</summary>
    public const int WireFormats = 3;

    /// <summary>Copies the data unless it is the envelope's own, so that it outlives the buffer that it came in.</summary>
    public void Keep()
    {
        if (!_isKept)
        {
            Data = Data.ToArray();
            _isKept = true;
        }
    }
}
