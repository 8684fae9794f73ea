using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using Dmb.Routing;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// Sends questions to all nodes on one Redis channel and collects the answers on the asking node's own channel. A live
/// node that does not answer within a second is named as missing.
/// </summary>
internal sealed class RedisCluster(RedisNode node, RedisConnection connection, ClusterQuestions questions) : ICluster
{
    private static readonly TimeSpan AnswerTimeout = TimeSpan.FromSeconds(1);

    private readonly ConcurrentDictionary<long, Question> _questions = [];
    private readonly RedisChannels _channels = node.Channels;
    private long _lastNumber;

    public string NodeId => node.Id;

    /// <summary>
    /// Subscribes questions and answers on a new link; <see cref="RedisLayout"/> has made this node a member.
    /// </summary>
    /// <exception cref="RedisUnavailableException">Redis did not answer in time.</exception>
    public async Task AttachAsync(RedisLink link, TimeSpan patience)
    {
        await link.SubscribeAsync(_channels.Ask, (channel, line) => _ = AnswerAsync(link, line), patience);
        await link.SubscribeAsync(_channels.AskOf(node.Id), (channel, line) => _ = HearAsync(line), patience);
        await link.SubscribeAsync(_channels.AnswersTo(node.Id), (_, line) => Note(line), patience);
    }

    public async Task<ClusterAnswers> AskAsync(string question, string argument)
    {
        var number = Interlocked.Increment(ref _lastNumber);
        var asked = _questions[number] = new Question();
        string[] living = [];
        try
        {
            living = await FindLivingAsync();
            var line = $"{number} {node.Id} {question} {argument}";
            var receivers = await connection.RunAsync(redis =>
                redis.PublishAsync(RedisChannel.Literal(_channels.Ask), line)
            );
            asked.Expect(Math.Max((int)receivers, living.Length));
            await asked.Done.WaitAsync(AnswerTimeout, TimeProvider.System);
        }
        catch (Exception e) when (e is RedisUnavailableException or RedisKeyException or TimeoutException)
        {
            // The nodes that answered are the result.
        }
        finally
        {
            _questions.TryRemove(number, out _);
        }

        var answers = asked.Answers;
        if (!answers.ContainsKey(node.Id) && await questions.AnswerAsync(question, argument) is { } own)
        {
            answers[node.Id] = own;
        }

        return new ClusterAnswers([.. answers.Values], [.. living.Where(other => !answers.ContainsKey(other))]);
    }

    public void Tell(string other, string question, string argument) =>
        connection.Link?.PublishUnanswered(_channels.AskOf(other), $"{question} {argument}");

    /// <summary>The nodes whose keys have not expired; removes the others from the set.</summary>
    private async Task<string[]> FindLivingAsync()
    {
        var members = await connection.RunAsync(redis => redis.SetMembersAsync(_channels.Members));
        var nodes = members.Select(member => (string)member!).ToArray();
        var lives = await Task.WhenAll(
            nodes.Select(async other =>
                other == node.Id || await connection.RunAsync(redis => redis.KeyExistsAsync(_channels.NodeOf(other)))
            )
        );
        foreach (var dead in nodes.Where((_, i) => !lives[i]))
        {
            await connection.RunAsync(redis => redis.SetRemoveAsync(_channels.Members, dead));
        }

        return [.. nodes.Where((_, i) => lives[i])];
    }

    /// <summary>Parses <c>number asker question argument</c>.</summary>
    private async Task AnswerAsync(RedisLink link, byte[] line)
    {
        if (
            Encoding.UTF8.GetString(line).Split(' ', 4) is [var number, var asker, var question, var argument]
            && await questions.AnswerAsync(question, argument) is { } answer
        )
        {
            byte[] reply = [.. Encoding.ASCII.GetBytes($"{number} {node.Id} "), .. answer];
            link.PublishUnanswered(_channels.AnswersTo(asker), reply);
        }
    }

    /// <summary>Parses <c>question argument</c>.</summary>
    private async Task HearAsync(byte[] line)
    {
        if (Encoding.UTF8.GetString(line).Split(' ', 2) is [var question, var argument])
        {
            await questions.AnswerAsync(question, argument);
        }
    }

    /// <summary>Parses <c>number node answer</c>; late answers are ignored.</summary>
    private void Note(byte[] line)
    {
        var behindNumber = line.AsSpan().IndexOf((byte)' ') + 1;
        var behindNode = behindNumber + line.AsSpan(behindNumber).IndexOf((byte)' ') + 1;
        if (
            behindNode > behindNumber
            && long.TryParse(
                line.AsSpan(0, behindNumber - 1),
                NumberStyles.None,
                CultureInfo.InvariantCulture,
                out var number
            )
            && _questions.TryGetValue(number, out var question)
        )
        {
            question.Add(Encoding.UTF8.GetString(line[behindNumber..(behindNode - 1)]), line[behindNode..]);
        }
    }

    /// <summary>Collects the answers to one question; they can arrive before their number is known.</summary>
    private sealed class Question
    {
        private readonly TaskCompletionSource _done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly Dictionary<string, byte[]> _answers = [];
        private int _expected = int.MaxValue;

        public Task Done => _done.Task;

        public Dictionary<string, byte[]> Answers
        {
            get
            {
                lock (_answers)
                {
                    return new Dictionary<string, byte[]>(_answers);
                }
            }
        }

        public void Expect(int answers)
        {
            lock (_answers)
            {
                _expected = answers;
                EndIfDone();
            }
        }

        public void Add(string other, byte[] answer)
        {
            lock (_answers)
            {
                _answers[other] = answer;
                EndIfDone();
            }
        }

        private void EndIfDone()
        {
            if (_answers.Count >= _expected)
            {
                _done.TrySetResult();
            }
        }
    }
}
