namespace Dmb.Sockets;

/// <summary>
/// The responses of a client that polls. A write without a GET waits for it; a write with one takes as much as fits
/// the response.
/// </summary>
internal sealed class PollingOutput(EngineIoVersion version) : IFrameOutput
{
    private readonly Lock _lock = new();
    private readonly byte[] _noop = EngineIoPayload.Encode(version, "6"u8);
    private readonly byte[] _close = EngineIoPayload.Encode(version, "1"u8);

    /// <summary>The pending write: completed with 0, its frames are offered again.</summary>
    private TaskCompletionSource<int>? _write;

    /// <summary>The pending GET.</summary>
    private TaskCompletionSource<byte[]?>? _poll;
    private bool _isProbing;
    private bool _isReplaced;
    private bool _isEnded;

    public ValueTask<int> WriteAsync(ReadOnlyMemory<byte> frames)
    {
        lock (_lock)
        {
            if (_isEnded)
            {
                throw new IOException("The client that polled is gone.");
            }

            if (_isReplaced)
            {
                return new ValueTask<int>(0);
            }

            if (_poll is null)
            {
                _write = new TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously);
                return new ValueTask<int>(_write.Task);
            }

            var payload = EngineIoPayload.Encode(version, frames.Span, out var taken);
            if (payload.Length > 0)
            {
                Answer(payload);
            }

            return new ValueTask<int>(taken);
        }
    }

    /// <summary>The body of the next response, once there is something to send.</summary>
    /// <returns>
    /// Null when the session has ended, or when two GETs are pending: then the first one got a close packet, and the
    /// session has to be closed.
    /// </returns>
    public Task<byte[]?> PollAsync(out bool isSecond)
    {
        lock (_lock)
        {
            isSecond = _poll is not null;
            if (isSecond || _isEnded || _isReplaced)
            {
                Answer(_close);
                return Task.FromResult<byte[]?>(null);
            }

            if (_isProbing && _write is null)
            {
                return Task.FromResult<byte[]?>(_noop);
            }

            _poll = new TaskCompletionSource<byte[]?>(TaskCreationOptions.RunContinuationsAsynchronously);
            var polled = _poll.Task;
            _write?.TrySetResult(0);
            _write = null;
            return polled;
        }
    }

    /// <summary>While a socket is probed, GETs are answered at once, so that the client can stop polling.</summary>
    public void SetProbing(bool isProbing)
    {
        lock (_lock)
        {
            _isProbing = isProbing;
            if (isProbing)
            {
                Answer(_noop);
            }
        }
    }

    /// <summary>The session has another output: what is pending is left to it.</summary>
    public void Replace()
    {
        lock (_lock)
        {
            _isReplaced = true;
            Answer(_noop);
            _write?.TrySetResult(0);
            _write = null;
        }
    }

    /// <summary>Ends; a pending GET gets an empty packet if the client closes, else a refusal.</summary>
    public void End(bool isClosedByClient)
    {
        lock (_lock)
        {
            _isEnded = true;
            Answer(isClosedByClient ? _noop : null);
            _write?.TrySetException(new IOException("The client that polled is gone."));
            _write = null;
        }
    }

    public void Abort() => End(isClosedByClient: false);

    private void Answer(byte[]? payload)
    {
        _poll?.TrySetResult(payload);
        _poll = null;
    }
}
