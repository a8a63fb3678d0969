import { defineConfig } from 'vitepress'

export default defineConfig({
  title: 'Deployer',
  description: 'Push a container image to Amazon ECR; it is live on ECS Fargate, verified, or rolled back.',
  lang: 'en',
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    sidebar: [
      {
        text: 'Use it',
        items: [
          { text: 'Start', link: '/' },
          { text: 'Deploy to an account', link: '/deploy' },
          { text: 'Daily use', link: '/operate' },
          { text: 'Troubleshooting', link: '/troubleshooting' },
          { text: 'The service spec', link: '/service-spec' },
          { text: 'Build images', link: '/build' },
          { text: 'GitHub, Slack, webhooks and CI', link: '/notifications' },
          { text: 'The documentation site', link: '/docs-site' },
          { text: 'The infrastructure', link: '/infrastructure' },
          { text: 'Cost', link: '/cost' },
        ],
      },
      {
        text: 'Understand it',
        items: [
          { text: 'How it works', link: '/how-it-works' },
          { text: 'Permissions', link: '/permissions' },
          { text: 'Waiting', link: '/waiting' },
          { text: 'The local AWS', link: '/local-aws' },
          { text: 'The simulation', link: '/simulation' },
          { text: 'The first account', link: '/first-account' },
        ],
      },
    ],
  },
})
