using System.Globalization;
using System.Text.RegularExpressions;
using Dmb.Webhooks;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>The dead letters of all nodes: one stream, the newest of which are kept.</summary>
internal sealed partial class RedisDeadLetters(RedisNode node, RedisConnection connection) : IDeadLetters
{
    private const int LettersMin = 256;
    private static readonly TimeSpan ClaimLife = TimeSpan.FromSeconds(10);

    private readonly RedisChannels _channels = node.Channels;

    public async ValueTask AddAsync(DeadLetter letter)
    {
        var claim = letter.Channel is { } channel ? "dead:" + InputCounts.Hash(channel, letter.Data.Span) : "dead";
        var length = Math.Clamp(
            IDeadLetters.BytesMax / Math.Max(1, letter.Data.Length),
            LettersMin,
            IDeadLetters.LettersMax
        );
        await connection.RunAsync(
            RedisScript.Dead,
            [_channels.Dead, _channels.Claim(claim)],
            [
                length,
                letter.Channel is null ? 0 : (long)ClaimLife.TotalMilliseconds,
                "webhook",
                letter.Webhook ?? "",
                "channel",
                letter.Channel ?? "",
                "event",
                letter.Event,
                "message",
                letter.Message,
                "subject",
                letter.Subject ?? "",
                "reason",
                letter.Reason,
                "detail",
                letter.Detail,
                "attempts",
                letter.Attempts,
                "data",
                letter.Data.ToArray(),
            ]
        );
    }

    public async ValueTask<IReadOnlyList<DeadLetter>> ReadAsync(string? before, int max) =>
        before is not null && !IsId(before) ? [] : await RangeAsync(before is null ? "+" : "(" + before, "-", max);

    public async ValueTask<DeadLetter?> FindAsync(string id) =>
        IsId(id) && await RangeAsync(id, id, 1) is [var letter] ? letter : null;

    public async ValueTask<bool> RemoveAsync(string id) =>
        IsId(id)
        && (int)await connection.RunAsync(redis => redis.ExecuteAsync("XDEL", (RedisKey)_channels.Dead, id)) > 0;

    public async ValueTask RepeatAsync(string channel, ReadOnlyMemory<byte> body) =>
        await connection.RunAsync(redis => redis.PublishAsync(RedisChannel.Literal(channel), body.ToArray()));

    private async Task<List<DeadLetter>> RangeAsync(string from, string to, int max)
    {
        var entries = await connection.RunAsync(redis =>
            redis.ExecuteAsync("XREVRANGE", (RedisKey)_channels.Dead, from, to, "COUNT", max)
        );
        return [.. ((RedisResult[])entries!).Select(Read)];
    }

    private static DeadLetter Read(RedisResult entry)
    {
        var (id, values) = ((string)((RedisResult[])entry!)[0]!, (RedisValue[])((RedisResult[])entry!)[1]!);
        var fields = new Dictionary<string, RedisValue>();
        for (var i = 0; i + 1 < values.Length; i += 2)
        {
            fields[(string)values[i]!] = values[i + 1];
        }

        return new DeadLetter(
            id,
            DateTimeOffset.FromUnixTimeMilliseconds(
                long.Parse(id.AsSpan(0, id.IndexOf('-')), CultureInfo.InvariantCulture)
            ),
            Text("webhook"),
            Text("channel"),
            Text("event") ?? "",
            Text("message") ?? "",
            Text("subject"),
            Text("reason") ?? "",
            Text("detail") ?? "",
            int.TryParse(Text("attempts"), CultureInfo.InvariantCulture, out var attempts) ? attempts : 0,
            (byte[]?)fields.GetValueOrDefault("data") ?? []
        );

        string? Text(string name) => (string?)fields.GetValueOrDefault(name) is { Length: > 0 } text ? text : null;
    }

    private static bool IsId(string id) => Id().IsMatch(id);

    [GeneratedRegex(@"^\d{1,15}-\d{1,15}\z")]
    private static partial Regex Id();
}
