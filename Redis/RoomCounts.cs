using System.Collections.Concurrent;
using System.Globalization;
using Dmb.Routing;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>Sessions in a room over all nodes: each is asked, and those that answer in time are added up.</summary>
internal sealed partial class RoomCounts(RedisOptions options, RedisNode node, RoomTable local, ILogger<RoomCounts> logger)
{
    private readonly ConcurrentDictionary<long, Question> _questions = [];
    private long _lastQuestion;

    /// <summary>Asks all nodes.</summary>
    public async ValueTask<int> AskAsync(string room, RedisUplink uplink)
    {
        var number = Interlocked.Increment(ref _lastQuestion);
        var question = _questions[number] = new Question();
        try
        {
            var line = $"count {number} {node.Channels.Node} {room}";
            question.Ask((int)await uplink.RunAsync(redis => redis.PublishAsync(node.Channels.Nodes, line)));
            await question.Answered.WaitAsync(options.PublishTimeout, TimeProvider.System);
        }
        catch (Exception e) when (RedisUplink.IsAway(e))
        {
            // Then it is those that were heard of, and this node's own.
            LogNotAnswered(logger, e.GetType().Name);
        }
        finally
        {
            _questions.TryRemove(number, out _);
        }

        return question.IsHeard ? question.Sum : local.Find(room)?.Count ?? 0;
    }

    /// <summary>Tells a node that asked how many sessions are here.</summary>
    public void Answer(RedisLink link, string channel, string number, string room) =>
        _ = link.Commands.PublishAsync(channel, $"sessions {number} {local.Find(room)?.Count ?? 0}", CommandFlags.FireAndForget);

    /// <summary>A node has answered; what nobody waits for any more, or is no number, is nothing.</summary>
    public void Hear(string number, string sessions)
    {
        if (long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var key)
            && int.TryParse(sessions, NumberStyles.None, CultureInfo.InvariantCulture, out var heard)
            && _questions.TryGetValue(key, out var question))
        {
            question.Hear(heard);
        }
    }

    [LoggerMessage(3012, LogLevel.Debug, "Not all nodes said how many sessions they have: {Why}.")]
    private static partial void LogNotAnswered(ILogger logger, string why);

    /// <summary>How many sessions: asked of all nodes, answered by each.</summary>
    private sealed class Question
    {
        private readonly TaskCompletionSource _answered = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly Lock _lock = new();
        private int _missing;

        public Task Answered => _answered.Task;

        public int Sum { get; private set; }

        public bool IsHeard { get; private set; }

        public void Ask(int nodes) => Add(nodes);

        public void Hear(int sessions)
        {
            lock (_lock)
            {
                Sum += sessions;
                IsHeard = true;
            }

            Add(-1);
        }

        private void Add(int nodes)
        {
            lock (_lock)
            {
                // Answers may come before it is known how many there will be.
                _missing += nodes;
                if (_missing == 0 && (nodes >= 0 || IsHeard))
                {
                    _answered.TrySetResult();
                }
            }
        }
    }
}
