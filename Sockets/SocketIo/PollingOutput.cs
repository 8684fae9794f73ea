namespace Dmb.Sockets;

/// <summary>
/// The responses of a client that polls: a write completes when a GET has taken as much of it as fits one response.
/// </summary>
internal sealed class PollingOutput(EngineIoVersion version) : IFrameOutput
{
    private readonly Lock _lock = new();
    private readonly byte[] _noop = EngineIoPayload.Encode(version, "6"u8);
    private readonly byte[] _close = EngineIoPayload.Encode(version, "1"u8);

    /// <summary>The pending write's frames and their completion.</summary>
    private ReadOnlyMemory<byte> _frames;
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
                _frames = frames;
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

            if (_write is { } write)
            {
                var payload = EngineIoPayload.Encode(version, _frames.Span, out var taken);
                (_write, _frames) = (null, default);
                write.SetResult(taken);
                if (payload.Length > 0)
                {
                    return Task.FromResult<byte[]?>(payload);
                }
            }

            if (_isProbing)
            {
                return Task.FromResult<byte[]?>(_noop);
            }

            _poll = new TaskCompletionSource<byte[]?>(TaskCreationOptions.RunContinuationsAsynchronously);
            return _poll.Task;
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
            (_write, _frames) = (null, default);
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
            (_write, _frames) = (null, default);
        }
    }

    public void Abort() => End(isClosedByClient: false);

    private void Answer(byte[]? payload)
    {
        _poll?.TrySetResult(payload);
        _poll = null;
    }
}
