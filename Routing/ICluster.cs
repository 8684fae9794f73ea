namespace Dmb.Routing;

/// <summary>What the nodes of a cluster answered to one question.</summary>
/// <param name="Answers">One answer a node that answered in time, as JSON in UTF-8.</param>
/// <param name="Missing">The ids of the nodes that did not.</param>
internal sealed record ClusterAnswers(IReadOnlyList<byte[]> Answers, IReadOnlyList<string> Missing);

/// <summary>Asks all nodes, this one included, and waits a bounded time for their answers.</summary>
internal interface ICluster
{
    /// <summary>This node's id, unique over the cluster, made anew at each start.</summary>
    string NodeId { get; }

    /// <summary>
    /// Asks a question of <see cref="ClusterQuestions"/>. Completes within a second or a little more.
    /// </summary>
    /// <param name="question">Its name.</param>
    /// <param name="argument">What the question is about; a line without line breaks.</param>
    Task<ClusterAnswers> AskAsync(string question, string argument);
}

/// <summary>
/// The questions that a node answers for the cluster; each is registered by the part that knows the answer.
/// </summary>
internal sealed class ClusterQuestions
{
    private readonly Dictionary<string, Func<string, ValueTask<byte[]>>> _answers = [];

    /// <summary>Registers a question, while the node starts.</summary>
    /// <param name="question">Its name.</param>
    /// <param name="answer">Gives the answer as JSON in UTF-8 to an argument.</param>
    public void Add(string question, Func<string, ValueTask<byte[]>> answer) => _answers.Add(question, answer);

    /// <summary>This node's answer; null for a question that it does not know.</summary>
    public async ValueTask<byte[]?> AnswerAsync(string question, string argument) =>
        _answers.TryGetValue(question, out var answer) ? await answer(argument) : null;
}

/// <summary>A node that runs alone.</summary>
internal sealed class LocalCluster(ClusterQuestions questions) : ICluster
{
    public string NodeId { get; } = Guid.NewGuid().ToString("N")[..12];

    public async Task<ClusterAnswers> AskAsync(string question, string argument) =>
        new(await questions.AnswerAsync(question, argument) is { } answer ? [answer] : [], []);
}
