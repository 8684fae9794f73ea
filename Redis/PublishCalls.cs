using Dmb.Backends;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>Calls the scripts that publish a message, and reads from their answers where it was kept.</summary>
internal sealed class PublishCalls(BackendOptions options, RedisNode node, RedisHistory history)
{
    private const int LogMessagesMax = 10_000;
    private const int LogMessagesMin = 64;
    private const int LogBytesMax = 16_777_216;

    /// <summary>How long after it was sent the same user's message may be sent again.</summary>
    private static readonly TimeSpan UserMessageClaim = TimeSpan.FromMinutes(1);

    private readonly RedisChannels _channels = node.Channels;

    /// <summary>How many messages the log keeps: fewer while there are large ones.</summary>
    public static long LogLength(byte[] body) => Math.Clamp(LogBytesMax / body.Length, LogMessagesMin, LogMessagesMax);

    /// <summary>Publishes a message; gives it with its position. Null if it is a user's message to a backend that is not registered.</summary>
    /// <exception cref="RedisUnavailableException">It is not known whether it was published.</exception>
    public async Task<PendingPublish?> SendAsync(RedisLink link, PendingPublish message)
    {
        if (history.Keeps(message))
        {
            var answer = (RedisResult[])(await link.RunAsync(RedisScript.PublishKept, history.Keys(message), history.Arguments(message)))!;
            return Positioned(message, answer[0], answer[1]);
        }

        var length = LogLength(message.Body);
        if (message.UserMessage is not { } sent)
        {
            await link.RunAsync(RedisScript.Publish, [_channels.Log], [length, message.Body, .. message.Rooms.Select(room => (RedisValue)_channels.Room(room))]);
            return message;
        }

        // Lua counts from one, and to the last.
        var (bkid, id, start, bytes) = sent;
        var taken = await link.RunAsync(
            RedisScript.SendUserMessage,
            [_channels.Log, _channels.BackendUplink(bkid), _channels.Backend(bkid), _channels.Claim(id)],
            [
                length, options.UplinkMessages, _channels.Room(message.Rooms[0]), _channels.Uplink, (long)options.BackendTtl.TotalMilliseconds,
                message.Body, start + 1, start + bytes, id, (long)UserMessageClaim.TotalMilliseconds,
            ]);
        return (int)taken < 0 ? null : message;
    }

    /// <summary>
    /// Runs a script that begins with a claim and ends with publishing a message, unless its third answer is no; its last two are the
    /// message's number and position. Gives the answer, and the message if it was published.
    /// </summary>
    /// <exception cref="RedisUnavailableException">It is not known whether it was published.</exception>
    public async Task<(RedisResult[] Answer, PendingPublish? Published)> SendOnceAsync(
        RedisLink link, PendingPublish message, RedisScript script, InputClaim claim, RedisKey[] keys, RedisValue[] arguments)
    {
        var answer = (RedisResult[])(await link.RunAsync(
            script, [.. claim.Keys, .. keys, .. history.Keys(message)], [.. claim.Arguments, .. arguments, .. history.Arguments(message)]))!;
        claim.Seen = (long)answer[1];
        return (answer, (int)answer[0] == 1 && (int)answer[2] == 1 ? Positioned(message, answer[^2], answer[^1]) : null);
    }

    private PendingPublish Positioned(PendingPublish message, RedisResult number, RedisResult position)
    {
        history.Saw((long)number);
        return (string?)position is { Length: > 0 } text ? message with { Position = text } : message;
    }
}
