using System.Buffers;
using System.IO.Pipelines;
using System.Net.Sockets;

namespace Dmb.Transport;

/// <summary>
/// Buffers writes and sends them when flushed, synchronously if the socket accepts all, else asynchronously.
/// </summary>
internal sealed class SocketSender(SocketConnection connection) : PipeWriter
{
    private const int FirstBufferBytes = 4_096;

    private byte[] _buffer = [];
    private int _length;
    private bool _isHeld;

    /// <summary>Set when nothing more is sent: the connection failed, or the socket is detached.</summary>
    private volatile bool _isCompleted;

    public override bool CanGetUnflushedBytes => true;

    public override long UnflushedBytes => _length;

    public override Memory<byte> GetMemory(int sizeHint = 0)
    {
        Reserve(sizeHint);
        return _buffer.AsMemory(_length);
    }

    public override Span<byte> GetSpan(int sizeHint = 0)
    {
        Reserve(sizeHint);
        return _buffer.AsSpan(_length);
    }

    public override void Advance(int bytes) => _length += bytes;

    public override ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default)
    {
        if (_isHeld && !_isCompleted)
        {
            return new ValueTask<FlushResult>(new FlushResult(isCanceled: false, isCompleted: false));
        }

        if (_length == 0 || _isCompleted)
        {
            return new ValueTask<FlushResult>(Flushed());
        }

        int sent;
        SocketError error;
        try
        {
            sent = connection.Socket.Send(_buffer.AsSpan(0, _length), SocketFlags.None, out error);
        }
        catch (ObjectDisposedException)
        {
            (sent, error) = (0, SocketError.OperationAborted);
        }

        if (error == SocketError.WouldBlock || (error == SocketError.Success && sent < _length))
        {
            return SendAsync(error == SocketError.Success ? sent : 0);
        }

        if (error != SocketError.Success)
        {
            Fail(error);
        }

        return new ValueTask<FlushResult>(Flushed());
    }

    /// <summary>
    /// Whether flushes complete without sending, so that <see cref="Detach"/> returns what they wrote.
    /// </summary>
    public void Hold(bool isHeld) => _isHeld = isHeld;

    /// <summary>Sends nothing more, and returns the bytes that are held.</summary>
    public byte[] Detach()
    {
        _isCompleted = true;
        var held = _buffer.AsSpan(0, _length).ToArray();
        Release();
        return held;
    }

    /// <summary>
    /// Has no effect: a pending flush ends when the client has received the bytes, or with the connection.
    /// </summary>
    public override void CancelPendingFlush() { }

    /// <summary>
    /// Sends nothing more. The buffer stays with a pending write or send; the next flush releases it.
    /// </summary>
    public override void Complete(Exception? exception = null) => _isCompleted = true;

    /// <summary>Sends the rest. Not cancellable: a partial write would corrupt the stream.</summary>
    private async ValueTask<FlushResult> SendAsync(int sent)
    {
        try
        {
            while (sent < _length)
            {
                sent += await connection.Socket.SendAsync(_buffer.AsMemory(sent, _length - sent));
            }
        }
        catch (SocketException e)
        {
            Fail(e.SocketErrorCode);
        }
        catch (ObjectDisposedException)
        {
            Fail(SocketError.OperationAborted);
        }

        return Flushed();
    }

    /// <summary>
    /// Records a send error, which the reader reports, and ends the connection; a flush never throws.
    /// </summary>
    private void Fail(SocketError error)
    {
        _isCompleted = true;
        connection.RecordFailure(error);
        connection.ReportClosed();
    }

    private FlushResult Flushed()
    {
        Release();
        return new FlushResult(isCanceled: false, _isCompleted);
    }

    private void Reserve(int sizeHint)
    {
        var needed = _length + Math.Max(sizeHint, 1);
        if (needed > _buffer.Length)
        {
            var larger = ArrayPool<byte>.Shared.Rent(Math.Max(Math.Max(FirstBufferBytes, needed), _buffer.Length * 2));
            _buffer.AsSpan(0, _length).CopyTo(larger);
            Return();
            _buffer = larger;
        }
    }

    /// <summary>Returns the buffer: an idle connection holds none.</summary>
    private void Release()
    {
        Return();
        (_buffer, _length) = ([], 0);
    }

    private void Return()
    {
        if (_buffer.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(_buffer);
        }
    }
}
