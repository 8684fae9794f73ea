using System.Collections.Concurrent;
using System.Globalization;
using Dmb.Routing;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>Counts a room's sessions over all nodes, by the answers received in time.</summary>
internal sealed partial class RoomCounts(
    RedisOptions options,
    RedisNode node,
    RedisConnection connection,
    RoomTable local,
    ILogger<RoomCounts> logger
)
{
    private readonly ConcurrentDictionary<long, Question> _questions = [];
    private long _lastQuestion;

    /// <summary>Asks all nodes.</summary>
    public async ValueTask<int> AskAsync(string room)
    {
        var number = Interlocked.Increment(ref _lastQuestion);
        var question = _questions[number] = new Question();
        try
        {
            var line = $"count {number} {node.Channels.Node} {room}";
            question.Ask(
                (int)
                    await connection.RunAsync(redis =>
                        redis.PublishAsync(RedisChannel.Literal(node.Channels.Nodes), line)
                    )
            );
            await question.Answered.WaitAsync(options.PublishTimeout, TimeProvider.System);
        }
        catch (Exception e) when (e is RedisUnavailableException or TimeoutException)
        {
            // Counts the nodes that answered, or this node only.
            LogNotAnswered(logger, e.GetType().Name);
        }
        finally
        {
            _questions.TryRemove(number, out _);
        }

        return question.IsAnswered ? question.Sum : local.Find(room)?.Count ?? 0;
    }

    /// <summary>Sends this node's count to the asking node.</summary>
    public void Answer(RedisLink link, string channel, string number, string room) =>
        link.PublishUnanswered(channel, $"sessions {number} {local.Find(room)?.Count ?? 0}");

    /// <summary>Records a node's answer; late or invalid ones are ignored.</summary>
    public void Note(string number, string sessions)
    {
        if (
            long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var key)
            && int.TryParse(sessions, NumberStyles.None, CultureInfo.InvariantCulture, out var count)
            && _questions.TryGetValue(key, out var question)
        )
        {
            question.Note(count);
        }
    }

    [LoggerMessage(3012, LogLevel.Debug, "Not all nodes reported their sessions: {Why}.")]
    private static partial void LogNotAnswered(ILogger logger, string why);

    /// <summary>One question and its answers.</summary>
    private sealed class Question
    {
        private readonly TaskCompletionSource _answered = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly Lock _lock = new();
        private int _missing;

        public Task Answered => _answered.Task;

        public int Sum { get; private set; }

        public bool IsAnswered { get; private set; }

        public void Ask(int nodes) => Add(nodes);

        public void Note(int sessions)
        {
            lock (_lock)
            {
                Sum += sessions;
                IsAnswered = true;
            }

            Add(-1);
        }

        private void Add(int nodes)
        {
            lock (_lock)
            {
                // Answers can arrive before their number is known.
                _missing += nodes;
                if (_missing == 0 && (nodes >= 0 || IsAnswered))
                {
                    _answered.TrySetResult();
                }
            }
        }
    }
}
