using System.Buffers;
using System.Threading.Tasks.Sources;
using Polly;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// A call of a script on a <see cref="RedisPipeline"/>. It is made and awaited once, and is an object of its own for
/// each call, so that an answer that comes late finds the call that it belongs to.
/// </summary>
/// <param name="script">The script; without one, the choice of a database.</param>
/// <param name="keys">The script's keys.</param>
/// <param name="arguments">Its arguments.</param>
internal class RedisCall(RedisScript? script, RedisKey[] keys, RedisValue[] arguments)
    : IValueTaskSource<Outcome<object?>>
{
    private ManualResetValueTaskSourceCore<Outcome<object?>> _source;
    private CancellationTokenRegistration _giving;
    private bool _isDone;
    private bool _isAgain;

    /// <summary>The names of the keys, for a message about them.</summary>
    public virtual string KeyNames => string.Join(", ", keys);

    /// <summary>The number of keys.</summary>
    protected virtual int KeyCount => keys.Length;

    /// <summary>The number of arguments.</summary>
    protected virtual int ArgumentCount => arguments.Length;

    /// <summary>The answer, or the exception that tells why there is none; available once.</summary>
    /// <param name="cancellationToken">Gives the call up; its answer is then dropped.</param>
    public ValueTask<Outcome<object?>> AnswerAsync(CancellationToken cancellationToken)
    {
        _giving = cancellationToken.UnsafeRegister(
            static (call, token) => ((RedisCall)call!).Fail(new OperationCanceledException(token)),
            this
        );
        return new ValueTask<Outcome<object?>>(this, _source.Version);
    }

    /// <summary>Completes the call, unless it is completed.</summary>
    public void Answer(RedisResult answer)
    {
        if (answer.Resp2Type == ResultType.Error)
        {
            Fail(new RedisServerException(RedisErrorKind.None, CommandFlags.None, (string)answer!));
        }
        else
        {
            Complete(Outcome.FromResult<object?>(answer));
        }
    }

    /// <summary>Completes the call without an answer, unless it is completed.</summary>
    public void Fail(Exception e) => Complete(Outcome.FromException<object?>(e));

    /// <summary>Whether the script is unknown to Redis, and its text was not sent yet.</summary>
    public bool TryAgain(string error) =>
        !_isAgain && (_isAgain = error.StartsWith("NOSCRIPT", StringComparison.Ordinal));

    /// <summary>Encodes the call (RESP2: an array of bulk strings).</summary>
    public void Write(ArrayBufferWriter<byte> output)
    {
        if (script is null)
        {
            output.WriteArray(2);
            output.Write("$6\r\nSELECT\r\n"u8);
        }
        else
        {
            output.WriteArray(3 + KeyCount + ArgumentCount);
            output.Write(_isAgain ? "$4\r\nEVAL\r\n"u8 : "$7\r\nEVALSHA\r\n"u8);
            output.WriteBulk(_isAgain ? script.Text : script.Sha);
            output.WriteBulk((RedisValue)KeyCount);
            WriteKeys(output);
        }

        WriteArguments(output);
    }

    /// <summary>Encodes the keys.</summary>
    protected virtual void WriteKeys(ArrayBufferWriter<byte> output)
    {
        foreach (var key in keys)
        {
            output.WriteBulk((string)key!);
        }
    }

    /// <summary>Encodes the arguments.</summary>
    protected virtual void WriteArguments(ArrayBufferWriter<byte> output)
    {
        foreach (var argument in arguments)
        {
            output.WriteBulk(argument);
        }
    }

    private void Complete(Outcome<object?> outcome)
    {
        if (!Interlocked.Exchange(ref _isDone, true))
        {
            _giving.Unregister();
            _source.SetResult(outcome);
        }
    }

    Outcome<object?> IValueTaskSource<Outcome<object?>>.GetResult(short token) => _source.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource<Outcome<object?>>.GetStatus(short token) => _source.GetStatus(token);

    void IValueTaskSource<Outcome<object?>>.OnCompleted(
        Action<object?> continuation,
        object? state,
        short token,
        ValueTaskSourceOnCompletedFlags flags
    ) => _source.OnCompleted(continuation, state, token, flags);
}
