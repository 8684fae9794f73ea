using System.Buffers;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// A call of a script that ends with publishing a message of rooms with a history (kept.lua), whose keys and arguments
/// follow its own.
/// </summary>
internal sealed class KeptCall(
    RedisScript script,
    RedisKey[] keys,
    RedisValue[] arguments,
    RedisHistory history,
    PendingPublish message,
    byte[] body
) : RedisCall(script, keys, arguments)
{
    /// <summary>What is known when the call is made, also where it is made again.</summary>
    private readonly string _earlier = message.Earlier;

    public override string KeyNames => string.Join(", ", [base.KeyNames, .. history.Keys(message)]).TrimStart(',', ' ');

    protected override int KeyCount => base.KeyCount + RedisHistory.KeyCount(message);

    protected override int ArgumentCount => base.ArgumentCount + RedisHistory.ArgumentCount(message);

    protected override void WriteKeys(ArrayBufferWriter<byte> output)
    {
        base.WriteKeys(output);
        history.WriteKeys(output, message);
    }

    protected override void WriteArguments(ArrayBufferWriter<byte> output)
    {
        base.WriteArguments(output);
        history.WriteArguments(output, message, body, _earlier);
    }
}
