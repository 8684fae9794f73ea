using Dmb.Backends;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>Calls the scripts that publish a message, and reads its positions from their answers.</summary>
internal sealed class PublishCalls(
    BackendOptions options,
    RedisOptions redis,
    RedisChannels channels,
    RedisHistory history,
    PoisonedKeys poisoned
)
{
    private const int LogMessagesMax = 10_000;
    private const int LogMessagesMin = 64;
    private const int LogBytesMax = 16_777_216;

    /// <summary>How long a user's message is recognised as sent, when it is sent again.</summary>
    private static readonly TimeSpan UserMessageClaim = TimeSpan.FromMinutes(1);

    /// <summary>The log's maximum number of messages; fewer after large ones.</summary>
    public static long LogLength(byte[] body) => Math.Clamp(LogBytesMax / body.Length, LogMessagesMin, LogMessagesMax);

    /// <summary>
    /// Publishes a message and records its positions; false for a user's message to an unregistered backend.
    /// </summary>
    /// <param name="link">The link.</param>
    /// <param name="message">The message.</param>
    /// <param name="isAgain">Whether to mark it as sent again.</param>
    /// <exception cref="RedisUnavailableException">It is not known whether it was published.</exception>
    public async Task<bool> SendAsync(RedisLink link, PendingPublish message, bool isAgain = false)
    {
        var body = isAgain ? RedisFormat.MarkAgain(message.Body) : message.Body;
        if (history.Keeps(message))
        {
            var call = Kept(RedisScript.PublishKept, [], [], message, body);
            message.MarkSent(history.Seen);
            var answer = (RedisResult[])(await RunAsync(link, call, isAgain))!;
            Note(message, answer[0], answer[1]);
            if ((int)answer[3] > 0)
            {
                poisoned.BeganAnew(message.Rooms);
            }

            return true;
        }

        var length = LogLength(body);
        if (message.UserMessage is not { } toBackend)
        {
            RedisValue[] arguments = [length, body, .. message.Rooms.Select(room => (RedisValue)channels.Room(room))];
            await RunAsync(link, Call(RedisScript.Publish, [channels.Log], arguments), isAgain);
            return true;
        }

        // Lua's indices begin at 1, and its ranges include the end.
        var (bkid, id, start, bytes) = toBackend;
        var send = Call(
            RedisScript.SendUserMessage,
            [channels.Log, channels.BackendUplink(bkid), channels.Backend(bkid), channels.Claim(id)],
            [
                length,
                options.UplinkMessages,
                channels.Room(message.Rooms[0]),
                channels.Uplink,
                (long)options.BackendTtl.TotalMilliseconds,
                body,
                start + 1,
                start + bytes,
                id,
                (long)UserMessageClaim.TotalMilliseconds,
            ]
        );
        return (int)await RunAsync(link, send, isAgain) >= 0;
    }

    /// <summary>
    /// Runs a script that begins with a claim and ends with a publish, unless its third result is 0; its last two
    /// results are the message's number and positions. Returns the results, and whether it published.
    /// </summary>
    /// <exception cref="RedisUnavailableException">It is not known whether it was published.</exception>
    public async Task<(RedisResult[] Answer, bool IsPublished)> SendOnceAsync(
        RedisLink link,
        PendingPublish message,
        RedisScript script,
        InputClaim claim,
        RedisKey[] keys,
        RedisValue[] arguments
    )
    {
        var call = Kept(script, [.. claim.Keys, .. keys], [.. claim.Arguments, .. arguments], message, message.Body);
        var answer = (RedisResult[])(await link.RunAsync(call))!;
        claim.Seen = (long)answer[1];
        var isPublished = (int)answer[0] == 1 && (int)answer[2] == 1;
        if (isPublished)
        {
            Note(message, answer[^2], answer[^1]);
        }

        return (answer, isPublished);
    }

    /// <summary>
    /// Makes a call within the timeout of a publish or, with what is sent again after an outage, of a step of attaching:
    /// no publisher waits for it, and all nodes send again at once.
    /// </summary>
    private ValueTask<RedisResult> RunAsync(RedisLink link, RedisCall call, bool isAgain) =>
        isAgain ? link.RunAsync(redis.Patience, call) : link.RunAsync(call);

    private RedisCall Call(RedisScript script, RedisKey[] keys, RedisValue[] arguments) =>
        new(channels.Own(script), keys, arguments);

    private KeptCall Kept(
        RedisScript script,
        RedisKey[] keys,
        RedisValue[] arguments,
        PendingPublish message,
        byte[] body
    ) => new(channels.Own(script), keys, arguments, history, message, body);

    private void Note(PendingPublish message, RedisResult number, RedisResult positions)
    {
        history.Saw((long)number);
        message.MarkAnswered((string?)positions ?? "");
    }
}
