using System.Buffers;
using System.IO.Pipelines;
using System.Net.Sockets;

namespace Dmb.Transport;

/// <summary>
/// What goes out on a socket: sent at once when it is flushed, without a thread or a task in between; what the socket
/// doesn't take is waited for.
/// </summary>
internal sealed class SocketSender(SocketConnection connection) : PipeWriter
{
    private const int FirstBufferBytes = 4_096;

    private byte[] _buffer = [];
    private int _length;

    /// <summary>Nothing leaves any more: the connection is lost, or its socket is detached.</summary>
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
            Lose(error);
        }

        return new ValueTask<FlushResult>(Flushed());
    }

    /// <summary>
    /// Has no effect: a flush that waits ends when the client takes what is sent, or with the connection.
    /// </summary>
    public override void CancelPendingFlush() { }

    /// <summary>
    /// Nothing more is sent. The buffer stays with the write or send that is under way: the next flush gives it back.
    /// </summary>
    public override void Complete(Exception? exception = null) => _isCompleted = true;

    /// <summary>
    /// Sends the rest. It is not given up halfway: what was begun is finished, or the connection ends.
    /// </summary>
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
            Lose(e.SocketErrorCode);
        }
        catch (ObjectDisposedException)
        {
            Lose(SocketError.OperationAborted);
        }

        return Flushed();
    }

    /// <summary>What can't be sent is no error of the sender's: the reader is told why.</summary>
    private void Lose(SocketError error)
    {
        _isCompleted = true;
        connection.Lose(error);
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

    /// <summary>A connection without anything to send holds no buffer.</summary>
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
