using System.Buffers;
using Polly;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// A connection for scripts that have to be answered soon. Calls made while others are unanswered are sent together,
/// when the next answer comes. Answers come in the order of the calls (RESP2), and each completes its call on the
/// thread that received it, which must not be blocked. The client library takes another thread and a write for each
/// call.
/// </summary>
internal sealed class RedisPipeline : IAsyncDisposable
{
    private const int BufferBytes = 16_384;

    /// <summary>A buffer that grew larger, by large messages, is given back.</summary>
    private const int KeptBytesMax = 1_048_576;

    private readonly Stream _stream;
    private readonly Action<string> _lost;
    private readonly Lock _lock = new();

    /// <summary>Calls whose answer is awaited, those of <see cref="_waiting"/> last; under the lock.</summary>
    private readonly Queue<RedisCall> _unanswered = [];

    /// <summary>
    /// Calls whose script Redis does not have, which go with its text, before all that waits: nothing is sent meanwhile,
    /// so that the order of the calls stays. Under the lock.
    /// </summary>
    private readonly List<RedisCall> _again = [];

    /// <summary>Encoded calls that are not sent; under the lock.</summary>
    private ArrayBufferWriter<byte> _waiting = new(BufferBytes);
    private ArrayBufferWriter<byte> _sending = new(BufferBytes);
    private int _waitingCount;
    private bool _isSending;
    private string? _why;

    /// <param name="stream">An idle connection to Redis, logged in.</param>
    /// <param name="database">The database; selected unless it is 0.</param>
    /// <param name="lost">Called once, with the reason, when the connection has ended.</param>
    public RedisPipeline(Stream stream, int database, Action<string> lost)
    {
        (_stream, _lost) = (stream, lost);
        if (database != 0)
        {
            _ = SelectAsync(database);
        }

        _ = RunAsync();
    }

    /// <summary>
    /// Makes a call. Completes on the thread that receives the answer, or cancels it: with the answer, with
    /// <see cref="RedisServerException"/> where that is an error, or with <see cref="IOException"/> when the connection
    /// has ended, so that it is not known whether the script was executed.
    /// </summary>
    public ValueTask<Outcome<object?>> CallAsync(RedisCall call, CancellationToken cancellationToken)
    {
        var answer = call.AnswerAsync(cancellationToken);
        Send(call);
        return answer;
    }

    public ValueTask DisposeAsync()
    {
        End("it is not used any more");
        return _stream.DisposeAsync();
    }

    private async Task SelectAsync(int database)
    {
        var selected = await CallAsync(new RedisCall(null, [], [database]), CancellationToken.None);
        if (selected.Exception is RedisServerException refused)
        {
            End(refused.Message);
        }
    }

    private void Send(RedisCall call)
    {
        string? why;
        var isTaken = false;
        lock (_lock)
        {
            why = _why;
            if (why is null)
            {
                call.Write(_waiting);
                _unanswered.Enqueue(call);
                _waitingCount++;
                isTaken = _unanswered.Count == _waitingCount && TryTake();
            }
        }

        if (why is not null)
        {
            call.Fail(new IOException(why));
        }
        else if (isTaken)
        {
            _ = FlushAsync();
        }
    }

    /// <summary>
    /// Takes all that waits for being sent, unless a write is under way or calls are to be made again; under the lock.
    /// </summary>
    private bool TryTake()
    {
        if (_isSending || _waitingCount == 0 || _again.Count > 0)
        {
            return false;
        }

        (_waiting, _sending, _waitingCount, _isSending) = (_sending, _waiting, 0, true);
        return true;
    }

    /// <summary>Sends what was taken, and what came meanwhile if all that was sent is answered.</summary>
    private async Task FlushAsync()
    {
        try
        {
            bool isMore;
            do
            {
                await _stream.WriteAsync(_sending.WrittenMemory);
                lock (_lock)
                {
                    _sending.ResetWrittenCount();
                    if (_sending.Capacity > KeptBytesMax)
                    {
                        _sending = new ArrayBufferWriter<byte>(BufferBytes);
                    }

                    _isSending = false;
                    isMore = _unanswered.Count == _waitingCount && TryTake();
                }
            } while (isMore);
        }
        catch (Exception e)
        {
            End(RedisReason.Of(e));
        }
    }

    private async Task RunAsync()
    {
        try
        {
            await Task.Yield();
            await ReceiveAsync();
            End("it was closed");
        }
        catch (Exception e)
        {
            End(RedisReason.Of(e));
        }
    }

    /// <summary>Fails all calls; without effect after the first time.</summary>
    private void End(string why)
    {
        RedisCall[] calls;
        lock (_lock)
        {
            if (_why is not null)
            {
                return;
            }

            _why = why;
            calls = [.. _again, .. _unanswered];
            _again.Clear();
            _unanswered.Clear();
        }

        _lost(why);
        foreach (var call in calls)
        {
            call.Fail(new IOException(why));
        }
    }

    private async Task ReceiveAsync()
    {
        var input = new byte[BufferBytes];
        var answers = new List<RedisResult>();
        for (int length = 0, read; (read = await _stream.ReadAsync(input.AsMemory(length))) > 0; )
        {
            length += read;
            var used = RedisAnswers.Read(input.AsSpan(0, length), answers);
            input.AsSpan(used, length - used).CopyTo(input);
            length -= used;
            if (length == input.Length)
            {
                Array.Resize(ref input, 2 * length);
            }

            Complete(answers);
            answers.Clear();
        }
    }

    /// <summary>
    /// Completes the calls that were answered, after those that wait were sent. What is answered after the end has no
    /// call any more: a write fails while answers are still to be read.
    /// </summary>
    private void Complete(List<RedisResult> answers)
    {
        var calls = new RedisCall?[answers.Count];
        bool isTaken;
        lock (_lock)
        {
            if (_why is not null)
            {
                return;
            }

            for (var i = 0; i < calls.Length; i++)
            {
                var call =
                    _unanswered.Count > _waitingCount
                        ? _unanswered.Dequeue()
                        : throw new InvalidDataException("Redis answered what was not asked");
                if (answers[i].Resp2Type == ResultType.Error && call.TryAgain((string)answers[i]!))
                {
                    _again.Add(call);
                }
                else
                {
                    calls[i] = call;
                }
            }

            if (_again.Count > 0 && _unanswered.Count == _waitingCount)
            {
                PutAgain();
            }

            isTaken = answers.Count > 0 && TryTake();
        }

        if (isTaken)
        {
            _ = FlushAsync();
        }

        for (var i = 0; i < calls.Length; i++)
        {
            calls[i]?.Answer(answers[i]);
        }
    }

    /// <summary>Puts the calls that are made again before those that wait; under the lock.</summary>
    private void PutAgain()
    {
        var (bytes, calls) = (_waiting, _unanswered.ToArray());
        _waiting = new ArrayBufferWriter<byte>(BufferBytes);
        _unanswered.Clear();
        foreach (var call in _again)
        {
            call.Write(_waiting);
            _unanswered.Enqueue(call);
        }

        _waiting.Write(bytes.WrittenSpan);
        Array.ForEach(calls, _unanswered.Enqueue);
        _waitingCount = _unanswered.Count;
        _again.Clear();
    }
}
