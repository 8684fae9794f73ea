namespace Dmb.Routing;

/// <summary>The nodes' answers to one question.</summary>
/// <param name="Answers">One answer per node that answered in time, as JSON in UTF-8.</param>
/// <param name="Missing">The ids of the other nodes.</param>
internal sealed record ClusterAnswers(IReadOnlyList<byte[]> Answers, IReadOnlyList<string> Missing);

/// <summary>Sends questions to all nodes, this one included, and collects the answers within a time limit.</summary>
internal interface ICluster
{
    /// <summary>This node's id, unique over the cluster, new at each start.</summary>
    string NodeId { get; }

    /// <summary>Asks a question of <see cref="ClusterQuestions"/>. Completes after about a second at most.</summary>
    /// <param name="question">Its name.</param>
    /// <param name="argument">The question's argument, without line breaks.</param>
    Task<ClusterAnswers> AskAsync(string question, string argument);

    /// <summary>
    /// Tells another node something, as a question whose answer nothing waits for. It is lost while Redis is away.
    /// </summary>
    /// <param name="other">The node's id.</param>
    /// <param name="question">The name of the question.</param>
    /// <param name="argument">As in <see cref="AskAsync"/>.</param>
    void Tell(string other, string question, string argument);
}

/// <summary>
/// Holds the questions that a node answers for the cluster; each is registered by the component that has the answer.
/// </summary>
internal sealed class ClusterQuestions
{
    private readonly Dictionary<string, Func<string, ValueTask<byte[]>>> _answers = [];

    /// <summary>Registers a question, while the node starts.</summary>
    /// <param name="question">Its name.</param>
    /// <param name="answer">Returns the answer to an argument, as JSON in UTF-8.</param>
    public void Add(string question, Func<string, ValueTask<byte[]>> answer) => _answers.Add(question, answer);

    /// <summary>This node's answer; null for an unknown question.</summary>
    public async ValueTask<byte[]?> AnswerAsync(string question, string argument) =>
        _answers.TryGetValue(question, out var answer) ? await answer(argument) : null;
}

/// <summary>The cluster of a single node.</summary>
internal sealed class LocalCluster(ClusterQuestions questions) : ICluster
{
    public string NodeId { get; } = Guid.NewGuid().ToString("N")[..12];

    public async Task<ClusterAnswers> AskAsync(string question, string argument) =>
        new(await questions.AnswerAsync(question, argument) is { } answer ? [answer] : [], []);

    public void Tell(string other, string question, string argument) { }
}
