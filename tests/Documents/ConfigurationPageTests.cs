namespace Dmb.Tests.Documents;

public sealed class ConfigurationPageTests
{
    private const string Start = "<!-- settings -->\n";
    private const string End = "<!-- /settings -->";

    [Fact]
    public async Task The_table_of_settings_matches_the_options()
    {
        var path = Path.Combine(Repository.Root, "docs/configuration.md");
        var page = await File.ReadAllTextAsync(path);
        var (start, end) = (
            page.IndexOf(Start, StringComparison.Ordinal) + Start.Length,
            page.IndexOf(End, StringComparison.Ordinal)
        );
        if (Environment.GetEnvironmentVariable("UPDATE_SETTINGS") == "1")
        {
            await File.WriteAllTextAsync(path, page[..start] + Settings.Table() + page[end..]);
        }

        Assert.Equal(Settings.Table(), page[start..end]);
    }
}
