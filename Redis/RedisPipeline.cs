using System.Buffers;
using System.Globalization;
using System.Text;
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
    private readonly Queue<Call> _unanswered = [];

    /// <summary>
    /// Calls whose script Redis does not have, which go with its text, before all that waits: nothing is sent meanwhile,
    /// so that the order of the calls stays. Under the lock.
    /// </summary>
    private readonly List<Call> _again = [];

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

    /// <summary>Calls a script. Completes on the thread that receives the answer.</summary>
    /// <exception cref="RedisServerException">Redis answers with an error.</exception>
    /// <exception cref="IOException">
    /// The connection has ended; it is not known whether the script was executed.
    /// </exception>
    public Task<RedisResult> CallAsync(RedisScript script, RedisKey[] keys, RedisValue[] arguments) =>
        SendAsync(new Call(script, keys, arguments));

    public ValueTask DisposeAsync()
    {
        End("it is not used any more");
        return _stream.DisposeAsync();
    }

    private async Task SelectAsync(int database)
    {
        try
        {
            await SendAsync(new Call(null, [], [database]));
        }
        catch (RedisServerException e)
        {
            End(e.Message);
        }
        catch (IOException)
        {
            // The end was told.
        }
    }

    private Task<RedisResult> SendAsync(Call call)
    {
        lock (_lock)
        {
            if (_why is not null)
            {
                return Task.FromException<RedisResult>(new IOException(_why));
            }

            call.Write(_waiting);
            _unanswered.Enqueue(call);
            _waitingCount++;
            if (_unanswered.Count > _waitingCount || !TryTake())
            {
                return call.Task;
            }
        }

        _ = FlushAsync();
        return call.Task;
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
        Call[] calls;
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
            call.TrySetException(new IOException(why));
            _ = call.Task.Exception;
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
        var calls = new Call?[answers.Count];
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
            var answer = answers[i];
            if (answer.Resp2Type != ResultType.Error)
            {
                calls[i]?.TrySetResult(answer);
            }
            else
            {
                calls[i]
                    ?.TrySetException(
                        new RedisServerException(RedisErrorKind.None, CommandFlags.None, (string)answer!)
                    );
            }
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

    /// <summary>A call of a script; without one, the choice of a database.</summary>
    private sealed class Call(RedisScript? script, RedisKey[] keys, RedisValue[] arguments)
        : TaskCompletionSource<RedisResult>
    {
        private bool _isAgain;

        /// <summary>Whether the script is unknown to Redis, and its text was not sent yet.</summary>
        public bool TryAgain(string error) =>
            !_isAgain && (_isAgain = error.StartsWith("NOSCRIPT", StringComparison.Ordinal));

        public void Write(ArrayBufferWriter<byte> output)
        {
            if (script is null)
            {
                Write(output, '*', 2);
                output.Write("$6\r\nSELECT\r\n"u8);
            }
            else
            {
                Write(output, '*', 3 + keys.Length + arguments.Length);
                output.Write(_isAgain ? "$4\r\nEVAL\r\n"u8 : "$7\r\nEVALSHA\r\n"u8);
                Write(output, _isAgain ? script.Text : script.Sha);
                Write(output, (RedisValue)keys.Length);
                foreach (var key in keys)
                {
                    Write(output, (string)key!);
                }
            }

            foreach (var argument in arguments)
            {
                Write(output, argument);
            }
        }

        private static void Write(ArrayBufferWriter<byte> output, string text)
        {
            var length = Encoding.UTF8.GetByteCount(text);
            Write(output, '$', length);
            Encoding.UTF8.GetBytes(text, output);
            output.Write("\r\n"u8);
        }

        private static void Write(ArrayBufferWriter<byte> output, RedisValue value)
        {
            var length = value.GetByteCount();
            Write(output, '$', length);
            value.CopyTo(output.GetSpan(length));
            output.Advance(length);
            output.Write("\r\n"u8);
        }

        private static void Write(ArrayBufferWriter<byte> output, char type, int number)
        {
            var line = output.GetSpan(16);
            line[0] = (byte)type;
            number.TryFormat(line[1..], out var digits, default, CultureInfo.InvariantCulture);
            "\r\n"u8.CopyTo(line[(1 + digits)..]);
            output.Advance(digits + 3);
        }
    }
}
