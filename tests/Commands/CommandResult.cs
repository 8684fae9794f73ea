namespace Dmb.Tests.Commands;

/// <summary>What a command printed and how it ended.</summary>
/// <param name="Code">Its exit code.</param>
/// <param name="Output">Its lines on stdout.</param>
/// <param name="Errors">Its lines on stderr.</param>
internal sealed record CommandResult(int Code, string[] Output, string[] Errors)
{
    /// <summary>Runs the program with a command, in an environment that has only this.</summary>
    public static async Task<CommandResult> RunAsync(
        IEnumerable<string> arguments,
        params (string Name, string Value)[] environment
    )
    {
        await using var process = NodeProcess.RunBare(arguments, NodeProcess.AppDirectory, environment);
        return await OfAsync(process);
    }

    /// <summary>Runs it against a node.</summary>
    public static Task<CommandResult> RunAsync(NodeProcess node, params string[] arguments) =>
        RunAsync(arguments, ("DMB_URL", node.Url.ToString()), ("DMB_KEY", CommandTests.Key));

    /// <summary>Waits for the end of a process.</summary>
    public static async Task<CommandResult> OfAsync(ChildProcess process)
    {
        var code = await process.EndAsync();
        return new CommandResult(code, [.. OutputOf(process)], process.Errors);
    }

    /// <summary>What a process has printed on stdout so far.</summary>
    public static IEnumerable<string> OutputOf(ChildProcess process)
    {
        var errors = process.Errors.ToList();
        return process.Lines.Where(line => !errors.Remove(line));
    }
}
